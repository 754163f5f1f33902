// The bare repositories of this node on its disk, beside what git itself does: what is made lasts,
// and what a crash has left behind does not stand in the way of the next push.
//
// Blocking: for a thread that may wait for the disk, or a node that starts.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/error.h"

namespace tau::patrick {

// What a repository of ours is like: its file `config`.
extern const std::string_view kRepositoryConfig;

// Finishes a repository that `git init --bare` has made: our config, and all of it on the disk.
Status finish_repository(const std::filesystem::path& repository);

// Before anything else uses `folder` (PROJECT/NAME.git): ends what git processes of an earlier
// life still run there, removes the locks and half written files of those that were killed, and
// gives repositories of an older program the config of today. Errors: unavailable.
Status recover_repositories(const std::filesystem::path& folder);

// Makes the names last that git has made since `since` (git fsyncs files, not folders): refs and
// objects of a push are then there after a power cut, too.
Status sync_names(const std::filesystem::path& repository, std::filesystem::file_time_type since);

}  // namespace tau::patrick
