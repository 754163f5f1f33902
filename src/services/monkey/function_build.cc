#include "services/monkey/function_build.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "process/archive.h"
#include "process/sandbox.h"

namespace tau::monkey {
namespace {

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

}  // namespace

process::Sandbox build_sandbox(const BuildLimits& limits,
                               const std::vector<process::Sandbox::Bind>& read_only) {
  process::Sandbox box;
  box.read_only = process::system_binds();
  box.read_only.insert(box.read_only.end(), read_only.begin(), read_only.end());
  box.tmpfs = {{"/src", limits.source_bytes_max},
               {"/out", limits.output_bytes_max},
               {"/tmp", kTemporaryBytesMax},
               {"/utils", 1u << 20},
               {"/opt", 64u << 20}};
  return box;
}

Result<process::Command> build_command(const Image& image, const project::Workflow& workflow,
                                       const std::map<std::string, Bytes>& sources,
                                       const BuildLimits& limits) {
  process::ArchivedFiles packed = image.files;
  if (image.warmth) packed.insert(image.warmth->files.begin(), image.warmth->files.end());
  for (const auto& [path, data] : sources) packed["src/" + path] = {data, path.ends_with(".sh")};
  process::Command command;
  TRY(command.input, process::write_tar(packed));
  command.argv = {"/bin/sh", "-c", kDriver, "build", workflow.folder};
  command.argv.insert(command.argv.end(), workflow.steps.begin(), workflow.steps.end());
  command.environment = workflow.variables;
  command.environment.insert(image.environment.begin(), image.environment.end());
  if (image.warmth)
    command.environment.insert(image.warmth->environment.begin(), image.warmth->environment.end());
  command.environment.insert({{"HOME", "/tmp"}, {"LANG", "C.UTF-8"}});
  command.environment["SRC"] = "/src";
  command.environment["OUT"] = "/out";
  command.directory = "/src";
  command.sandbox = build_sandbox(limits, image.read_only);
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
