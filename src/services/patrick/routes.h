// git smart HTTP (gitprotocol-http) for the repositories of a LocalProvider, by git's own
// http-backend. No login: these routes belong on an address that only this machine reaches.
//
//   GET  PREFIX/{project}/{repository}.git/info/refs?service=git-upload-pack|git-receive-pack
//   POST PREFIX/{project}/{repository}.git/git-upload-pack
//   POST PREFIX/{project}/{repository}.git/git-receive-pack
//
// A push is answered when patrick has its job on the disk; the answer says which job. If patrick
// can't take it, the client is told so (the commits are kept, and the job follows by itself).
#pragma once

#include <string>
#include <string_view>

#include "http/router.h"
#include "runtime/thread_pool.h"
#include "services/patrick/local_provider.h"

namespace tau::patrick {

// Router and provider outlive the server that uses the routes. `files`: where disk I/O runs.
void mount_git(http::Router& router, std::string_view prefix, LocalProvider& provider,
               runtime::ThreadPool& files);

// What http-backend wrote: header lines, an empty line, the body.
struct CgiHead {
  int status = 200;
  http::Headers headers;
  std::size_t size = 0;  // of the head
};
Result<CgiHead> parse_cgi_head(std::string_view start);

// One packet of progress or of a fatal error, as git shows it after "remote: "
// (gitprotocol-common, side-band-64k).
enum class Band : std::uint8_t { progress = 2, fatal = 3 };
std::string side_band_packet(Band band, std::string_view text);
// Whether an answer to a push is multiplexed, so that such packets may stand in front of it.
bool is_side_band(std::string_view body_start);

}  // namespace tau::patrick
