// taubyte/rust-wasi: Rust for wasm32-wasip1, with the published SDK compiled (tools/setup makes it,
// sdk/rust/build.sh builds with it). A toolchain of the system will do when it has the target; then
// each project compiles its crates itself.
#include <fmt/format.h>

#include "services/monkey/images/image.h"
#include "services/monkey/sdk_files.h"

namespace tau::monkey {
namespace {

constexpr std::string_view kImage = "taubyte/rust-wasi";
// Where the base was compiled: cargo compiles anew what was compiled by another path.
constexpr const char* kInside = "/opt/rust";
constexpr const char* kBaseInside = "/opt/rust-base";

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
};

}  // namespace

const Language& rust() {
  static const Rust language;
  return language;
}

}  // namespace tau::monkey
