// A network of two odo processes on addresses and ports that stay, so that it can be killed and
// started again; and the promises that it has made to those who use it meanwhile.
//
// "one" runs every service, "two" is a second hoarder and substrate.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "child.h"
#include "http/json.h"
#include "net/network.h"
#include "visitor.h"

namespace tau::test {

// What was promised, by whom it was heard. Thread-safe.
class Promises {
 public:
  struct Push {
    std::string commit;
    std::uint64_t version = 0;  // 0: of another repository or branch
  };
  // git said that it is stored and accepted.
  void acknowledged(Push push);
  // A function answered, or a build was reported as published: nothing older may be answered once
  // the network has been killed.
  void seen(std::uint64_t version);
  void registered(std::string project);
  void broken(std::string how);  // a promise was not kept

  std::uint64_t newest_seen() const;
  std::vector<Push> pushes() const;
  std::vector<std::string> projects() const;
  std::vector<std::string> breaches() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Push> pushes_;
  std::uint64_t newest_ = 0;
  std::vector<std::string> projects_, breaches_;
};

class KilledNetwork {
 public:
  KilledNetwork();

  // Makes keys, certificates and configurations; starts nothing.
  void create();
  // Starts both and does not wait.
  void start();
  // Until both said that they are ready; false when one ended or the time was up.
  bool wait_ready(std::chrono::seconds limit);
  // kill -9 of every process and of what they had started, and waits for their ends.
  void kill();
  // SIGTERM; how long the slower one took, nothing when one had to be killed or failed.
  std::optional<std::chrono::milliseconds> stop(std::chrono::seconds limit);
  std::string said() const;  // by the processes of this round

  // Makes a project with a function that answers its version; the project's folder.
  void make_project();
  // Commits a new version of the function; the commit.
  std::string commit_version(std::uint64_t version);
  std::string commit_config(const std::string& note);  // which changes nothing that is served
  Said push(const std::string& repository, const std::string& what = "main");
  Said new_project(const std::string& name);

  Answer ask(Visitor& visitor, std::size_t node) const;  // GET /version
  Answer api(Visitor& visitor, const std::string& path) const;
  std::optional<std::uint64_t> version_of(const Answer& answer) const;
  struct Build {
    std::uint64_t seq = 0;
    std::string id, branch, state, error;
    std::map<std::string, std::string> commits;  // by repository
  };
  // Newest first, as many as are kept. Nothing: the API did not answer.
  std::optional<std::vector<Build>> builds(Visitor& visitor) const;
  std::optional<std::set<std::string>> projects(Visitor& visitor) const;  // their names
  std::filesystem::path repository(const std::string& name) const;        // patrick's

  Folder folder;
  Place home;
  std::string project_id;

 private:
  struct Node {
    std::string name, address, config;
    std::optional<Child> process;
  };
  std::filesystem::path tool(const std::string& name) const;
  std::string must(std::vector<std::string> argv, const std::filesystem::path& directory);

  std::vector<Node> nodes_;
  net::Endpoint api_;
  Bytes module_;
  std::size_t version_at_ = 0;
  int round_ = 0;
};

}  // namespace tau::test
