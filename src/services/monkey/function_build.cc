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

constexpr std::uint64_t kImageBytesMax = 512u << 20;  // tmpfs of /opt, with dependencies
constexpr const char* kKept = ".tau-kept";            // in /out

// Runs inside. Descriptors 5 and 6 may be tars of warmth and of what was kept; $1 has a 5 and a 6
// for those that are there, $2 is the folder that is kept, $3 the most of it in KiB, $4 the
// workflow's folder; its steps follow. Each is a shell of its own, by the name in its first line,
// without the descriptor that the results go out on.
constexpr const char* kDriver = R"sh(
layers=$1 kept=$2 kept_max=$3 folder=$4; shift 4
case $layers in *5*) tar -xmf - -C / <&5 || exit 1;; esac
if [ -n "$kept" ]; then
  # Newer than this: what this build or one before it added. Times have the grain of a clock tick.
  mkdir -p "$kept"; sleep 0.01; : > /tmp/.tau-warm; sleep 0.01
  case $layers in *6*) tar -xmf - -C "$kept" <&6 2> /dev/null;; esac
fi
tar -xmf - -C / || exit 1
exec < /dev/null 5<&- 6<&-
for step in "$@"; do
  script=/src/$folder/$step.sh
  shell=/bin/sh
  IFS= read -r first < "$script"
  case $first in '#!'*bash*) if [ -x /bin/bash ]; then shell=/bin/bash; fi;; esac
  $shell "$script" 3>&- || {
    code=$?
    echo "step $step: exit code $code"
    exit $code
  }
done
if [ -n "$kept" ]; then
  cd "$kept" && find . -type f -newer /tmp/.tau-warm > /tmp/.tau-kept &&
    tar -cf /out/.tau-kept -T /tmp/.tau-kept 2> /dev/null
  if [ "$(du -k /out/.tau-kept | cut -f 1)" -gt "$kept_max" ]; then rm -f /out/.tau-kept; fi
fi
exec tar -cf - -C /out . >&3
)sh";

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
               {"/opt", kImageBytesMax}};
  return box;
}

Result<process::Command> build_command(FunctionBuild build, const BuildLimits& limits) {
  const Image& image = build.image;
  process::ArchivedFiles packed = image.files;
  for (auto& [path, file] : build.dependencies) packed["opt/tau/deps/" + path] = std::move(file);
  for (const auto& [path, data] : build.sources)
    packed["src/" + path] = {data, path.ends_with(".sh")};
  process::Command command;
  TRY(command.input, process::write_tar(packed));
  std::string layers;
  // Descriptor 6 is what was kept, so 5 is there whenever 6 is.
  if (image.warmth || build.kept) {
    command.files.push_back(image.warmth ? image.warmth->tar : *build.kept);
    if (image.warmth) layers += '5';
  }
  if (build.kept) {
    command.files.push_back(*build.kept);
    layers += '6';
  }
  const auto& workflow = build.workflow;
  command.argv = {"/bin/sh",
                  "-c",
                  kDriver,
                  "build",
                  layers,
                  image.kept,
                  std::to_string(limits.kept_bytes_max >> 10),
                  workflow.folder};
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

Result<Outcome> outcome_of(BytesView results, const BuildLimits& limits) {
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
  Outcome outcome;
  if (const auto kept = files.find(kKept);
      kept != files.end() && kept->second.data.size() <= limits.kept_bytes_max)
    outcome.kept = std::move(kept->second.data);
  for (const char* name : {"main.wasm", "artifact.wasm"}) {
    const auto file = files.find(name);
    if (file == files.end()) continue;
    const Bytes& data = file->second.data;
    if (data.size() < kWasmHeader.size() ||
        !std::equal(kWasmHeader.begin(), kWasmHeader.end(), data.begin()))
      return fail(ErrorCode::failed_precondition,
                  fmt::format("/out/{} is no WebAssembly module", name));
    outcome.module = std::move(file->second.data);
    return outcome;
  }
  return fail(ErrorCode::failed_precondition, "the build ended well, but wrote no /out/main.wasm");
}

}  // namespace tau::monkey
