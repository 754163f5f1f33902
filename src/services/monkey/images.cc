#include "services/monkey/images.h"

#include <fmt/format.h>

#include <algorithm>

#include "crypto/ed25519.h"
#include "process/sandbox.h"
#include "services/monkey/sdk_files.h"

namespace tau::monkey {
namespace {

constexpr std::string_view kCppImage = "taubyte/cpp-wasi";
constexpr Duration kProbeTimeMax = std::chrono::seconds(20);  // a cold disk
// The first bytes of every core module (WebAssembly core specification 5.5.16).
constexpr std::array<std::uint8_t, 8> kWasmHeader = {0, 'a', 's', 'm', 1, 0, 0, 0};
// One place for sources, in kernel memory: what a repository of functions may weigh.
constexpr std::uint64_t kTemporaryBytesMax = 512u << 20;

// Runs inside. $1: the workflow's folder, then its steps. Each step is a shell of its own without
// the descriptor that the results go out on.
constexpr const char* kDriver = R"(
tar -xmf - -C / || exit 1
exec < /dev/null
folder=$1; shift
for step in "$@"; do
  /bin/sh "/src/$folder/$step.sh" 3>&- || {
    code=$?
    echo "step $step: exit code $code"
    exit $code
  }
done
exec tar -cf - -C /out . >&3
)";

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

process::Sandbox sandbox_of(const BuildLimits& limits) {
  process::Sandbox box;
  box.read_only = process::system_binds();
  box.tmpfs = {{"/src", limits.source_bytes_max},
               {"/out", limits.output_bytes_max},
               {"/tmp", kTemporaryBytesMax},
               {"/utils", 1u << 20},
               {"/opt", 64u << 20}};
  return box;
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

}  // namespace

Images::Images() {
  Image cpp;
  cpp.name = kCppImage;
  for (const auto& [path, bytes] : sdk_files())
    cpp.files["opt/tau/sdk/" + std::string(path)] = {to_bytes(bytes), false};
  // Where Taubyte's build scripts look for it.
  const auto script = cpp.files.find("opt/tau/sdk/cpp/build.sh");
  if (script != cpp.files.end()) cpp.files["utils/wasm.sh"] = script->second;
  cpp.environment = {{"TAU_SDK", "/opt/tau/sdk"}, {"CXX", "clang++-19"}, {"CC", "clang-19"}};
  images_.push_back(std::move(cpp));
}

Task<Status> Images::probe(process::Runner& runner) {
  CO_TRY_STATUS(runner.sandbox_available());
  process::Command command;
  command.argv = {"/bin/sh", "-c",
                  "clang++-19 --version && ls /usr/lib/wasm32-wasi/libc++.a "
                  "/usr/lib/wasm32-wasi/libc.a >&2"};
  command.sandbox = sandbox_of({});
  command.limits.wall_time_max = kProbeTimeMax;
  command.limits.output_bytes_max = 64u << 10;
  std::string out, err;
  const process::OutputSink sink = [&](process::Output to, BytesView bytes) {
    (to == process::Output::standard_output ? out : err).append(as_text(bytes));
  };
  CO_TRY(const process::Exit exit, runner.run(std::move(command), sink));
  if (exit.code != 0)
    co_return fail(
        ErrorCode::failed_precondition,
        fmt::format("the image {} needs clang 19 for wasm32-wasi: apt-get install clang-19 lld-19 "
                    "wasi-libc libc++-19-dev-wasm32 libc++abi-19-dev-wasm32 "
                    "libclang-rt-19-dev-wasm32 ({})",
                    kCppImage, err.substr(0, 300)));
  // "Debian clang version 19.1.7 (3~deb12u1)"
  std::string version = out.substr(0, out.find('\n'));
  if (const auto at = version.find("version "); at != std::string::npos)
    version = version.substr(at + 8);
  for (auto& image : images_)
    image.toolchain = fmt::format("{}: clang {}, sdk {}", image.name, version.substr(0, 60),
                                  short_digest(image.files));
  co_return Status{};
}

Task<Result<Bytes>> Images::make_headers(process::Runner& runner) const {
  const Image& image = images_[0];
  const project::Workflow workflow{".taubyte", image.name, {}, {"build"}};
  std::map<std::string, Bytes> sources = {
      {"main.cc", to_bytes("#include <tau/http.h>\nTAU_HTTP_FUNCTION(ping) {}\n")},
      {".taubyte/build.sh", to_bytes(kMakeHeaders)}};
  std::string said;
  const process::OutputSink sink = [&](process::Output, BytesView bytes) {
    if (said.size() < 1000) said.append(as_text(bytes));
  };
  CO_TRY_SYNC(auto make, build_command(image, workflow, sources, {}, Headers::plain));
  CO_TRY(const process::Exit made, runner.run(std::move(make), sink));
  if (made.code != 0)
    co_return fail(ErrorCode::failed_precondition, made.why() + ": " + said.substr(0, 1000));
  process::ArchiveLimits bounds;
  bounds.bytes_max = kHeadersBytesMax;
  CO_TRY_SYNC(auto files, process::read_tar(made.results, bounds, process::Links::refuse));
  Image trial = image;
  trial.headers = std::make_shared<const Bytes>(std::move(files["http.pch"].data));

  sources[".taubyte/build.sh"] = to_bytes(". /utils/wasm.sh\nbuild\n");
  said.clear();
  CO_TRY_SYNC(auto use, build_command(trial, workflow, sources, {}, Headers::precompiled));
  CO_TRY(const process::Exit used, runner.run(std::move(use), sink));
  if (used.code != 0)
    co_return fail(ErrorCode::failed_precondition, used.why() + ": " + said.substr(0, 1000));
  CO_TRY_SYNC_STATUS(module_of(used.results, {}));
  co_return *trial.headers;
}

void Images::use_headers(Bytes headers) {
  images_[0].headers = std::make_shared<const Bytes>(std::move(headers));
}

const Image* Images::find(std::string_view name) const {
  const auto untagged = name.substr(0, name.find(':'));
  const auto it = std::ranges::find(images_, untagged, &Image::name);
  return it == images_.end() ? nullptr : &*it;
}

std::string Images::names() const {
  std::string out;
  for (const auto& image : images_) out += (out.empty() ? "" : ", ") + image.name;
  return out;
}

Result<process::Command> build_command(const Image& image, const project::Workflow& workflow,
                                       const std::map<std::string, Bytes>& sources,
                                       const BuildLimits& limits, Headers headers) {
  process::ArchivedFiles packed = image.files;
  const bool precompiled = headers == Headers::precompiled && image.headers;
  if (precompiled) packed[kHeaders] = {*image.headers, false};
  for (const auto& [path, data] : sources) packed["src/" + path] = {data, path.ends_with(".sh")};
  process::Command command;
  TRY(command.input, process::write_tar(packed));
  command.argv = {"/bin/sh", "-c", kDriver, "build", workflow.folder};
  command.argv.insert(command.argv.end(), workflow.steps.begin(), workflow.steps.end());
  command.environment = workflow.variables;
  command.environment.insert(image.environment.begin(), image.environment.end());
  command.environment.insert({{"HOME", "/tmp"}, {"LANG", "C.UTF-8"}});
  // A workflow that sets its own flags may well contradict those of the precompiled header.
  if (precompiled)
    command.environment.insert({"CXXFLAGS", fmt::format("-include-pch /{}", kHeaders)});
  command.environment["SRC"] = "/src";
  command.environment["OUT"] = "/out";
  command.directory = "/src";
  command.sandbox = sandbox_of(limits);
  command.limits.wall_time_max = limits.wall_time_max;
  command.limits.memory_bytes_max = limits.memory_bytes_max;
  command.limits.processes_max = limits.processes_max;
  command.limits.output_bytes_max = limits.log_bytes_max;
  command.limits.results_bytes_max = limits.output_bytes_max + (1u << 20);  // tar's own blocks
  return command;
}

Result<Bytes> module_of(BytesView results, const BuildLimits& limits) {
  process::ArchiveLimits bounds;
  bounds.bytes_max = limits.output_bytes_max;
  TRY(auto files, process::read_tar(results, bounds, process::Links::refuse));
  // Taubyte's older scripts end well and leave their exit code here.
  if (const auto code = files.find("ret-code"); code != files.end()) {
    const std::string text = to_text(
        BytesView(code->second.data).first(std::min<std::size_t>(code->second.data.size(), 16)));
    if (!text.empty() && text.find_first_not_of("0 \r\n") != std::string::npos)
      return fail(ErrorCode::failed_precondition, "the build wrote " + text + " to /out/ret-code");
  }
  for (const char* name : {"main.wasm", "artifact.wasm"}) {
    const auto file = files.find(name);
    if (file == files.end()) continue;
    const Bytes& data = file->second.data;
    if (data.size() < kWasmHeader.size() ||
        !std::equal(kWasmHeader.begin(), kWasmHeader.end(), data.begin()))
      return fail(ErrorCode::failed_precondition,
                  fmt::format("/out/{} is no WebAssembly module", name));
    return std::move(file->second.data);
  }
  return fail(ErrorCode::failed_precondition, "the build ended well, but wrote no /out/main.wasm");
}

}  // namespace tau::monkey
