// taubyte/prebuilt: no toolchain. The module was compiled elsewhere and lies in the repository; the
// build hands it on. It is what works on every machine.
#include <fmt/format.h>

#include "services/monkey/images/image.h"

namespace tau::monkey {
namespace {

constexpr std::string_view kImage = "taubyte/prebuilt";

constexpr const char* kScript = R"sh(# Sourced by a function's .taubyte/build.sh: `build FILE`.
build() {
  from=${SRC:-/src}/${1:-main.wasm}
  if [ ! -f "$from" ]; then
    echo "build: error: there is no ${1:-main.wasm} in the function's folder: put the compiled module there" >&2
    return 1
  fi
  cp "$from" "${OUT:-/out}/main.wasm"
}
)sh";

class Prebuilt final : public Language {
 public:
  std::string_view image() const override { return kImage; }

  Task<Result<Image>> find(Machine machine) const override {
    CO_TRY(const Said said, ask_toolchain(machine.runner, "cp --version >/dev/null", {}, {}));
    if (said.code != 0)
      co_return fail(ErrorCode::failed_precondition,
                     fmt::format("the image {} needs cp: apt-get install coreutils", kImage));
    Image image;
    image.name = kImage;
    image.files["utils/wasm.sh"] = {to_bytes(kScript), false};
    image.toolchain = fmt::format("{}: {}", kImage, short_digest(image.files));
    co_return image;
  }
};

}  // namespace

const Language& prebuilt() {
  static const Prebuilt language;
  return language;
}

}  // namespace tau::monkey
