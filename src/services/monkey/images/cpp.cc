// taubyte/cpp-wasi: clang 19 for wasm32-wasi with the guest SDK. Most of the time of a small
// function's build goes into reading the SDK's header, so warmth is that header, precompiled.
#include <fmt/format.h>

#include "services/monkey/function_build.h"
#include "services/monkey/images/image.h"
#include "services/monkey/sdk_files.h"

namespace tau::monkey {
namespace {

constexpr std::string_view kImage = "taubyte/cpp-wasi";
constexpr const char* kHeaders = "opt/tau/http.pch";
constexpr std::size_t kHeadersBytesMax = 48u << 20;  // 9 MB with clang 19

// Takes the place of the compiler when the SDK's own script calls it, so that the header is
// precompiled by the same flags as functions are. Not by the same times of files: each build has
// fresh copies.
constexpr const char* kMakeHeaders = R"(
cat > /tmp/cxx <<'END'
#!/bin/sh
set -f
flags=
for word in "$@"; do
  case $word in
    -o | -Wl,* | -mexec-model=* | *.wasm | *.cc) ;;
    *) flags="$flags $word" ;;
  esac
done
exec clang++-19 $flags -Xclang -fno-pch-timestamp -x c++-header \
  /opt/tau/sdk/cpp/include/tau/http.h -o /out/http.pch
END
chmod +x /tmp/cxx
CXX=/tmp/cxx
. /utils/wasm.sh
build > /tmp/words 2>&1
test -s /out/http.pch || { cat /tmp/words; exit 1; }
)";

class Cpp final : public Language {
 public:
  std::string_view image() const override { return kImage; }

  Task<Result<Image>> find(Machine machine) const override {
    CO_TRY(const Said said, ask_toolchain(machine.runner,
                                          "clang++-19 --version && ls /usr/lib/wasm32-wasi/libc++.a"
                                          " /usr/lib/wasm32-wasi/libc.a >&2",
                                          {}, {}));
    if (said.code != 0)
      co_return fail(ErrorCode::failed_precondition,
                     fmt::format("the image {} needs clang 19 for wasm32-wasi: apt-get install "
                                 "clang-19 lld-19 wasi-libc libc++-19-dev-wasm32 "
                                 "libc++abi-19-dev-wasm32 libclang-rt-19-dev-wasm32 ({})",
                                 kImage, said.err.substr(0, 300)));
    Image image;
    image.name = kImage;
    for (const auto& [path, bytes] : sdk_files()) {
      if (path.starts_with("cpp/") || path.starts_with("abi/"))
        image.files["opt/tau/sdk/" + std::string(path)] = {to_bytes(bytes), false};
    }
    // Where Taubyte's build scripts look for it.
    const auto script = image.files.find("opt/tau/sdk/cpp/build.sh");
    if (script != image.files.end()) image.files["utils/wasm.sh"] = script->second;
    image.environment = {{"TAU_SDK", "/opt/tau/sdk"}, {"CXX", "clang++-19"}, {"CC", "clang-19"}};
    // "Debian clang version 19.1.7 (3~deb12u1)"
    std::string version = said.out.substr(0, said.out.find('\n'));
    if (const auto at = version.find("version "); at != std::string::npos)
      version = version.substr(at + 8);
    image.toolchain = fmt::format("{}: clang {}, sdk {}", kImage, version.substr(0, 60),
                                  short_digest(image.files));
    co_return image;
  }

  Task<Result<Bytes>> warm_up(process::Runner& runner, Image image) const override {
    image.warmth.reset();
    const project::Workflow workflow{".taubyte", image.name, {}, {"build"}};
    const std::map<std::string, Bytes> sources = {
        {"main.cc", to_bytes("#include <tau/http.h>\nTAU_HTTP_FUNCTION(ping) {}\n")},
        {".taubyte/build.sh", to_bytes(kMakeHeaders)}};
    std::string said;
    const process::OutputSink sink = [&](process::Output, BytesView bytes) {
      if (said.size() < 1000) said.append(as_text(bytes));
    };
    CO_TRY_SYNC(auto make, build_command({image, workflow, sources, {}, {}}, {}));
    CO_TRY(const process::Exit made, runner.run(std::move(make), sink));
    if (made.code != 0)
      co_return fail(ErrorCode::failed_precondition, made.why() + ": " + said.substr(0, 1000));
    process::ArchiveLimits bounds;
    bounds.bytes_max = kHeadersBytesMax;
    CO_TRY_SYNC(auto out, process::read_tar(made.results, bounds, process::Links::refuse));
    process::ArchivedFiles files;
    files[kHeaders] = std::move(out["http.pch"]);
    co_return process::write_tar(files);
  }

  Warmth warmth(std::filesystem::path tar) const override {
    // A workflow that sets its own CXXFLAGS may well contradict those of the precompiled header.
    return {std::move(tar),
            {{"CXXFLAGS", fmt::format("-include-pch /{}", kHeaders)}},
            // The compiler's words when the machine's headers changed, or flags do not agree.
            {"precompiled", "PCH file"}};
  }
};

}  // namespace

const Language& cpp() {
  static const Cpp language;
  return language;
}

}  // namespace tau::monkey
