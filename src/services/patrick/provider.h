// Provider: where the repositories of projects live, as patrick sees it. It says when a branch has
// moved and gives the files of a commit; patrick decides what is built.
//
// local_provider.h hosts them on this node's disk. Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/strong_id.h"
#include "runtime/task.h"
#include "services/auth/api.h"

namespace tau::patrick {

// A branch of a repository is at another commit now, or gone.
struct Push {
  ProjectId project;
  std::string repository;
  std::string branch;
  std::string commit;  // 40 hex digits; empty: the branch was deleted
  friend bool operator==(const Push&, const Push&) = default;
};

// What became of a push.
struct Accepted {
  JobId job;  // empty: nothing to build (a deleted branch)
  std::uint64_t seq = 0;
  std::string note;  // for the person who pushed: "build 3 of main …", "waiting for …"
  friend bool operator==(const Accepted&, const Accepted&) = default;
};

// The tar of one commit. As much as a build reads (process/archive.h).
inline constexpr std::size_t kArchiveBytesMax = 64u << 20;

// Whom a provider tells. patrick's service is one.
class PushListener {
 public:
  virtual ~PushListener() = default;
  // Returns when the push is on disk. Telling the same push again is success and changes nothing,
  // so that a provider that does not know whether it was heard just tells again.
  virtual Task<Result<Accepted>> accept(Push push) = 0;
  // The commit that is known for a branch; empty when none is.
  virtual std::string known_commit(const ProjectId& project, const std::string& repository,
                                   const std::string& branch) const = 0;
  // The known branches of a repository.
  virtual std::vector<std::string> known_branches(const ProjectId& project,
                                                  const std::string& repository) const = 0;
  // Errors: not_found (nobody registered it), unavailable.
  virtual Task<Result<auth::Registration>> registration(ProjectId project) = 0;
  // This node hosts the project's repositories from now on, if no other does: what a node has of
  // them counts only there. Errors: failed_precondition (another hosts them), unavailable.
  virtual Task<Status> claim(ProjectId project) = 0;
};

class Provider {
 public:
  virtual ~Provider() = default;
  virtual std::string_view name() const = 0;  // as registrations call it: "local"
  // Tells of every push from now on, and of those that happened while nobody listened. The listener
  // outlives stop().
  virtual Task<Status> start(PushListener& listener) = 0;
  virtual Task<void> stop() = 0;  // idempotent
  // The files of a commit as an uncompressed tar. Errors: not_found, resource_exhausted (more than
  // kArchiveBytesMax).
  virtual Task<Result<Bytes>> archive(ProjectId project, std::string repository,
                                      std::string commit) = 0;
};

}  // namespace tau::patrick
