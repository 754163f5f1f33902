// taubyte/rust-wasi: Rust for wasm32-wasip1, with the published SDK compiled (tools/setup makes it,
// sdk/rust/build.sh builds with it). A toolchain of the system will do when it has the target; then
// each project compiles its crates itself.
#include <fmt/format.h>

#include <algorithm>

#include "crypto/ed25519.h"
#include "services/monkey/images/cargo_lock.h"
#include "services/monkey/images/image.h"
#include "services/monkey/sdk_files.h"

namespace tau::monkey {
namespace {

constexpr std::string_view kImage = "taubyte/rust-wasi";
// Where the base was compiled: cargo compiles anew what was compiled by another path.
constexpr const char* kInside = "/opt/rust";
constexpr const char* kBaseInside = "/opt/rust-base";
constexpr const char* kKept = "/tmp/kept";  // other people's crates, compiled
constexpr std::size_t kSaidLinesMax = 8;

// Words of rustc, cargo and the linker; then what changes when tools/setup made another toolchain.
constexpr const char* kAsk = R"sh(
rustc --version && cargo --version >&2 && wasm-ld-19 --version >&2 || exit 1
library=$(rustc --print target-libdir --target wasm32-wasip1)
test -n "$(find "$library" -name 'libstd-*.rlib')" || {
  echo "rustc has no standard library for wasm32-wasip1 in $library" >&2
  exit 1
}
cat /opt/rust-base/.made 2>/dev/null || :
)sh";

std::string line_of(std::string_view text, std::size_t number) {
  for (; number > 0; --number) {
    const auto end = text.find('\n');
    if (end == text.npos) return {};
    text.remove_prefix(end + 1);
  }
  return std::string(text.substr(0, std::min<std::size_t>(text.find('\n'), 100)));
}

class Rust final : public Language {
 public:
  std::string_view image() const override { return kImage; }

  Task<Result<Image>> find(Machine machine) const override {
    Image image;
    image.name = kImage;
    image.kept = kKept;
    image.environment = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}};
    const auto folder = machine.toolchains / "rust";
    std::error_code error;
    if (std::filesystem::exists(folder / "bin" / "rustc", error)) {
      image.read_only = {{folder, kInside}};
      image.environment = {{"PATH", fmt::format("{}/bin:/usr/local/bin:/usr/bin:/bin", kInside)},
                           {"LD_LIBRARY_PATH", fmt::format("{}/lib/x86_64-linux-gnu", kInside)}};
    }
    if (const auto base = machine.toolchains / "rust-base"; std::filesystem::exists(base, error))
      image.read_only.push_back({base, kBaseInside});
    image.environment["CARGO_HOME"] = "/tmp/cargo";
    CO_TRY(const Said said,
           ask_toolchain(machine.runner, kAsk, image.read_only, image.environment));
    if (said.code != 0)
      co_return fail(
          ErrorCode::failed_precondition,
          fmt::format("the image {} needs Rust with its standard library for wasm32-wasip1, and "
                      "lld-19: run tools/setup of tau's sources, which makes {} ({})",
                      kImage, folder.string(), said.err.substr(0, 300)));
    for (const auto& [path, bytes] : sdk_files())
      if (path.starts_with("rust/"))
        image.files["opt/tau/sdk/" + std::string(path)] = {to_bytes(bytes), false};
    image.files["utils/wasm.sh"] = image.files.at("opt/tau/sdk/rust/build.sh");
    image.toolchain = fmt::format("{}: {}, base {}, sdk {}", kImage, line_of(said.out, 0),
                                  line_of(said.out, 1), short_digest(image.files));
    co_return image;
  }

  // Nothing when the toolchain has all crates: most functions need no network.
  Result<std::optional<FetchPlan>> plan_fetch(const Image& image,
                                              const std::map<std::string, Bytes>& sources,
                                              const Machine& machine) const override {
    const auto lock = sources.find("Cargo.lock");
    if (lock == sources.end()) return std::nullopt;
    TRY(const auto crates, crates_of_lock("/src/Cargo.lock", as_text(lock->second)));
    const auto vendor = machine.toolchains / "rust-base" / "vendor";
    const bool all_here = std::ranges::all_of(crates, [&vendor](const LockedCrate& crate) {
      std::error_code error;
      return std::filesystem::exists(vendor / crate.file_name(), error);
    });
    if (all_here) return std::nullopt;

    FetchPlan plan;
    plan.ecosystem = "rust";
    Bytes all = to_bytes(image.toolchain);
    for (const auto& [path, data] : sources) {
      const std::filesystem::path file(path);
      const bool manifest = file.filename() == "Cargo.toml" || path == "Cargo.lock";
      // Cargo's settings could name other registries, and programs to run.
      if (path.starts_with(".cargo/") || path.find("/.cargo/") != path.npos) continue;
      if (manifest) {
        const auto digest = crypto::sha256(data);
        all.insert(all.end(), digest.begin(), digest.end());
        plan.inputs["fetch/" + path] = {data, false};
      } else if (file.extension() == ".rs") {
        plan.inputs["fetch/" + path] = {};  // cargo looks whether they are there
      }
    }
    plan.key = to_hex(crypto::sha256(all));
    plan.script = to_text(image.files.at("opt/tau/sdk/rust/fetch.sh").data);
    plan.environment = image.environment;
    plan.read_only = image.read_only;
    return plan;
  }

  std::string explain_fetch(const std::string& said) const override {
    const auto has = [&said](std::string_view words) { return said.find(words) != said.npos; };
    std::string lines;
    std::size_t at = 0;
    for (std::size_t count = 0; at < said.size() && count < kSaidLinesMax; ++count) {
      const auto end = std::min(said.find('\n', at), said.size());
      lines += "\n" + said.substr(at, std::min<std::size_t>(end - at, 500));
      at = end + 1;
    }
    if (has("--locked"))
      return "Cargo.lock does not fit Cargo.toml: run cargo generate-lockfile and commit it" +
             lines;
    if (has("checksum")) return "a crate is not what Cargo.lock says, so it is not used" + lines;
    if (has("ould not resolve") || has("ould not connect") || has("ailed to connect") ||
        has("timed out") || has("Timeout"))
      return "this node cannot reach the registry of crates; what was built with here before needs "
             "none" +
             lines;
    return "a crate that Cargo.lock names cannot be had" + lines;
  }
};

}  // namespace

const Language& rust() {
  static const Rust language;
  return language;
}

}  // namespace tau::monkey
