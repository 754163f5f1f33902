#include "services/patrick/routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "services/patrick/repositories.h"
#include "services/patrick/spool.h"

namespace tau::patrick {
namespace {

constexpr std::size_t kPieceBytes = 64u << 10;
constexpr std::size_t kCgiHeadMax = 16u << 10;  // http-backend writes a few hundred bytes

enum class Service : std::uint8_t { refs, upload_pack, receive_pack };

std::string_view path_of(Service service) {
  switch (service) {
    case Service::refs:
      return "info/refs";
    case Service::upload_pack:
      return "git-upload-pack";
    case Service::receive_pack:
      return "git-receive-pack";
  }
  return "";
}

// What a client may choose in "Git-Protocol": "version=2".
bool is_git_protocol(std::string_view text) {
  return text.size() <= 128 && std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '=' || c == ':';
         });
}

struct Call {
  LocalProvider& provider;
  runtime::ThreadPool& files;
  Service service;
  LocalProvider::Name name;
};

Result<std::map<std::string, std::string>> cgi_variables(const Call& call,
                                                         const http::Request& request,
                                                         std::uint64_t body_bytes) {
  std::map<std::string, std::string> v;
  v["REQUEST_METHOD"] = call.service == Service::refs ? "GET" : "POST";
  v["PATH_INFO"] = "/" + call.name.project.str() + "/" + call.name.repository + ".git/" +
                   std::string(path_of(call.service));
  v["SERVER_PROTOCOL"] = "HTTP/1.1";
  v["REMOTE_ADDR"] = request.remote().address;
  if (call.service == Service::refs) {
    const auto wanted = http::query_value(request.query, "service");
    if (wanted != "git-upload-pack" && wanted != "git-receive-pack")
      return fail(ErrorCode::invalid_argument,
                  "this is a git repository: use it with `git clone` or `git push` (git 1.6.6 or "
                  "newer)");
    v["QUERY_STRING"] = "service=" + *wanted;
  } else {
    v["CONTENT_TYPE"] = "application/x-" + std::string(path_of(call.service)) + "-request";
    v["CONTENT_LENGTH"] = std::to_string(body_bytes);
    if (request.headers.get("content-type") != v["CONTENT_TYPE"])
      return fail(ErrorCode::invalid_argument, "expected " + v["CONTENT_TYPE"]);
    const auto coding = request.headers.get("content-encoding");
    if (coding == "gzip" || coding == "x-gzip") v["HTTP_CONTENT_ENCODING"] = "gzip";
  }
  if (const auto protocol = request.headers.get("git-protocol");
      !protocol.empty() && is_git_protocol(protocol))
    v["GIT_PROTOCOL"] = protocol;
  return v;
}

Task<Status> receive_body(http::Request& request, Spool& spool) {
  request.body.set_limit(kPackBytesMax);
  Bytes piece(kPieceBytes);
  for (;;) {
    CO_TRY(const std::size_t n, request.body.read(piece));
    if (n == 0) co_return Status{};
    CO_TRY_STATUS(spool.append(BytesView(piece).first(n)));
  }
}

// What stands in front of git's own answer to a push.
Result<std::string> words_for(const LocalProvider::Told& told, std::string_view body_start) {
  if (!is_side_band(body_start)) {
    if (told.complete) return std::string();
    return fail(ErrorCode::unavailable, told.lines.empty() ? "not built yet" : told.lines.back());
  }
  std::string words;
  for (const auto& line : told.lines)
    words += side_band_packet(Band::progress, "tau: " + line + "\n");
  if (!told.complete)
    words += side_band_packet(
        Band::fatal,
        "tau: the commits are stored, but their build is not accepted yet; that is tried again "
        "until it works (see `tau query builds`)\n");
  return words;
}

// Lets the branches be compared unless all was told: whatever way a push ends.
class ChangeGuard {
 public:
  ChangeGuard(LocalProvider& provider, const LocalProvider::Name& name)
      : provider_(provider), name_(name) {}
  ~ChangeGuard() {
    if (!told_) provider_.tell_later(name_);
  }
  void told() { told_ = true; }

 private:
  LocalProvider& provider_;
  const LocalProvider::Name& name_;
  bool told_ = false;
};

Task<Status> send_answer(http::ResponseWriter& response, Spool& output, CgiHead head,
                         std::string words) {
  http::Response answer{head.status, std::move(head.headers), std::move(words)};
  std::uint64_t at = head.size;
  CO_TRY(Bytes piece, output.read(at, kPieceBytes));
  at += piece.size();
  answer.body += as_text(piece);
  if (at >= output.size()) {
    response.send(answer);
    co_return Status{};
  }
  CO_TRY_STATUS(response.begin(std::move(answer)));
  for (;;) {
    CO_TRY(piece, output.read(at, kPieceBytes));
    if (piece.empty()) break;
    at += piece.size();
    CO_TRY_STATUS(response.write(piece));
  }
  co_return co_await response.finish();
}

Task<Status> serve(Call call, http::Request& request, http::ResponseWriter& response) {
  CO_TRY_STATUS(call.provider.prepare(call.name));
  Spool input(call.provider.spool_file(), call.files);
  CO_TRY_STATUS(input.create());
  if (call.service != Service::refs) {
    if (auto received = co_await receive_body(request, input); !received) {
      response.send(http::body_error(received.error()));
      co_return Status{};
    }
  }
  CO_TRY_SYNC(auto variables, cgi_variables(call, request, input.size()));
  Spool output(call.provider.spool_file(), call.files);
  ChangeGuard guard(call.provider, call.name);
  if (call.service != Service::receive_pack) guard.told();
  CO_TRY_STATUS(
      call.provider.git().http_backend(std::move(variables), input.path(), output.path()));
  CO_TRY_STATUS(output.open_written());
  CO_TRY(const Bytes start, output.read(0, kCgiHeadMax));
  CO_TRY_SYNC(CgiHead head, parse_cgi_head(as_text(start)));
  std::string words;
  if (call.service == Service::receive_pack) {
    const auto repository = call.provider.path_of(call.name);
    CO_TRY_STATUS(call.files.run([&]() -> Status {
      std::error_code ec;  // git began after the last byte of its input was here
      const auto begun = std::filesystem::last_write_time(input.path(), ec);
      return sync_names(repository, ec ? std::filesystem::file_time_type::min() : begun);
    }));
    const auto told = co_await call.provider.tell(call.name);
    guard.told();
    CO_TRY_SYNC(words, words_for(told, as_text(start).substr(head.size)));
  }
  co_return co_await send_answer(response, output, std::move(head), std::move(words));
}

Task<void> handle(LocalProvider& provider, runtime::ThreadPool& files, Service service,
                  http::Request& request, http::ResponseWriter& response) {
  std::string_view repository = request.parameter("repository");
  if (repository.ends_with(".git")) repository.remove_suffix(4);
  auto name = LocalProvider::parse_name(request.parameter("project"), repository);
  Status served;
  if (name) {
    served = co_await provider.within(
        serve(Call{provider, files, service, *std::move(name)}, request, response));
  } else {
    served = fail(name.error());
  }
  if (served || response.begun()) co_return;
  // git shows a text answer to the person in front of it.
  http::Response answer =
      http::Response::text(http_status_of(served.error().code()), served.error().message() + "\n");
  response.send(answer);
}

}  // namespace

Result<CgiHead> parse_cgi_head(std::string_view start) {
  CgiHead head;
  for (;;) {
    const std::size_t end = start.find('\n', head.size);
    if (end == start.npos)
      return fail(ErrorCode::internal, "git http-backend gave no complete answer");
    std::string_view line = start.substr(head.size, end - head.size);
    head.size = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) return head;
    const std::size_t colon = line.find(':');
    if (colon == line.npos)
      return fail(ErrorCode::internal, "git http-backend: a header line without a colon");
    const std::string_view name = line.substr(0, colon);
    std::string_view value = line.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    if (http::equal_ignoring_case(name, "Status")) {
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), head.status);
      if (parsed.ec != std::errc() || head.status < 200 || head.status > 599)
        return fail(ErrorCode::internal, "git http-backend: a status that is none");
    } else if (!http::equal_ignoring_case(name, "Content-Length")) {
      head.headers.add(std::string(name), std::string(value));
    }
  }
}

std::string side_band_packet(Band band, std::string_view text) {
  // 1000 bytes suit the smallest side band, too.
  text = text.substr(0, 990);
  return fmt::format("{:04x}{}{}", text.size() + 5, static_cast<char>(band), text);
}

bool is_side_band(std::string_view body_start) {
  if (body_start.size() < 5) return false;
  const bool length = std::ranges::all_of(body_start.substr(0, 4), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
  return length && body_start[4] >= 1 && body_start[4] <= 3;
}

void mount_git(http::Router& router, std::string_view prefix, LocalProvider& provider,
               runtime::ThreadPool& files) {
  const std::string base = std::string(prefix) + "/{project}/{repository}/";
  for (const Service service : {Service::refs, Service::upload_pack, Service::receive_pack}) {
    router.add(
        service == Service::refs ? "GET" : "POST", base + std::string(path_of(service)),
        [&provider, &files, service](http::Request& request, http::ResponseWriter& response) {
          return handle(provider, files, service, request, response);
        });
  }
}

}  // namespace tau::patrick
