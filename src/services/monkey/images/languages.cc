#include "crypto/ed25519.h"
#include "services/monkey/function_build.h"
#include "services/monkey/images/image.h"

namespace tau::monkey {
namespace {

constexpr Duration kAskTimeMax = std::chrono::seconds(20);  // a cold disk
constexpr std::uint64_t kAskedBytesMax = 64u << 10;

}  // namespace

std::vector<const Language*> languages() {
  return {&cpp(), &go(), &rust(), &assemblyscript(), &prebuilt()};
}

Task<Result<Bytes>> Language::warm_up(process::Runner&, Image) const { co_return Bytes{}; }

Result<std::optional<FetchPlan>> Language::plan_fetch(const Image&,
                                                      const std::map<std::string, Bytes>&,
                                                      const Machine&) const {
  return std::nullopt;
}

Task<Result<Said>> ask_toolchain(process::Runner& runner, std::string script,
                                 std::vector<process::Sandbox::Bind> read_only,
                                 std::map<std::string, std::string> environment) {
  process::Command command;
  command.argv = {"/bin/sh", "-c", std::move(script)};
  command.environment = std::move(environment);
  command.sandbox = build_sandbox({}, read_only);
  command.limits.wall_time_max = kAskTimeMax;
  command.limits.output_bytes_max = kAskedBytesMax;
  Said said;
  const process::OutputSink sink = [&said](process::Output to, BytesView bytes) {
    (to == process::Output::standard_output ? said.out : said.err).append(as_text(bytes));
  };
  CO_TRY(const process::Exit exit, runner.run(std::move(command), sink));
  said.code = exit.code;
  co_return said;
}

std::string short_digest(const process::ArchivedFiles& files) {
  Bytes all;
  for (const auto& [path, file] : files) {
    all.insert(all.end(), path.begin(), path.end());
    all.push_back(0);
    const auto digest = crypto::sha256(file.data);
    all.insert(all.end(), digest.begin(), digest.end());
  }
  return to_hex(BytesView(crypto::sha256(all)).first(6));
}

}  // namespace tau::monkey
