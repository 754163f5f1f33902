#include "testnet/scripted_toolchain.h"

#include <algorithm>

#include "guest/context.h"
#include "guest/http_event/exchange.h"
#include "process/archive.h"
#include "runtime/loop.h"

namespace tau::testnet {
namespace {

using namespace std::chrono_literals;

// What stands in front of the source in a module: the header of a core module.
constexpr std::array<std::uint8_t, 8> kHeader = {0, 'a', 's', 'm', 1, 0, 0, 0};

void append_varint(Bytes& out, std::size_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::uint8_t>(value | 0x80));
  out.push_back(static_cast<std::uint8_t>(value));
}

void append_section(Bytes& module, std::uint8_t id, BytesView content) {
  module.push_back(id);
  append_varint(module, content.size());
  module.insert(module.end(), content.begin(), content.end());
}

// Exports the function that TAU_HTTP_FUNCTION(name) names; the source is its last section.
Bytes module_from(std::string_view source) {
  const std::size_t open = source.find('(');
  const std::string_view name = source.substr(open + 1, source.find(')', open) - open - 1);
  Bytes module(kHeader.begin(), kHeader.end());
  Bytes exported = {1};
  append_varint(exported, name.size());
  exported.insert(exported.end(), name.begin(), name.end());
  exported.insert(exported.end(), {0, 0});
  append_section(module, 7, exported);
  Bytes custom = {0};
  custom.insert(custom.end(), source.begin(), source.end());
  append_section(module, 0, custom);
  return module;
}

std::string written_by(std::string_view module) {
  constexpr std::string_view kWrite = "event.write(\"";
  const std::size_t at = module.find(kWrite);
  if (at == std::string_view::npos) return "";
  const std::string_view rest = module.substr(at + kWrite.size());
  return std::string(rest.substr(0, rest.find('"')));
}

constexpr std::string_view kMachineCode = "machine code that writes ";

class ScriptedModule final : public vm::Module {
 public:
  explicit ScriptedModule(std::string answer) : answer_(std::move(answer)) {}
  bool has_function(std::string_view) const override { return true; }
  Result<Bytes> serialize() const override { return to_bytes(std::string(kMachineCode) + answer_); }
  Task<std::expected<vm::RunTimes, vm::RunFailure>> run(std::string_view, std::uint32_t,
                                                        void* context,
                                                        vm::RunLimits) const override {
    static_cast<guest::Context*>(context)->http->write(answer_);
    co_return vm::RunTimes{10us, 5us};
  }

 private:
  std::string answer_;
};

}  // namespace

Task<Result<process::Exit>> scripted_build(const process::Command& command,
                                           process::OutputSink& sink) {
  return scripted_build_by({}, command, sink);
}

Task<Result<process::Exit>> scripted_build_by(std::string builder, const process::Command& command,
                                              process::OutputSink& sink) {
  process::Exit exit;
  if (command.argv.size() == 3) {  // the probe of the toolchain
    sink(process::Output::standard_output, as_bytes("Debian clang version 19.1.7 (3)\n"));
    co_return exit;
  }
  CO_TRY_STATUS(runtime::sleep_for(1s));
  const auto files = process::read_tar(command.input, {}, process::Links::refuse);
  const auto main = files ? files->find("src/main.cc") : process::ArchivedFiles::const_iterator{};
  if (!files || main == files->end()) {
    exit.code = 1;
    co_return exit;
  }
  const std::string source = to_text(main->second.data);
  if (source.find("broken") != std::string::npos) {
    sink(process::Output::standard_error, as_bytes("/src/main.cc:1:1: error: broken\n"));
    exit.code = 1;
    co_return exit;
  }
  process::ArchivedFiles out;
  Bytes module = module_from(source);
  if (!builder.empty()) {
    Bytes custom = {2, 'b', 'y'};
    custom.insert(custom.end(), builder.begin(), builder.end());
    append_section(module, 0, custom);
  }
  out["main.wasm"] = {std::move(module), false};
  CO_TRY_SYNC(exit.results, process::write_tar(out));
  co_return exit;
}

Result<std::shared_ptr<const vm::Module>> ScriptedEngine::compile(BytesView wasm, vm::Effort) {
  if (wasm.size() < kHeader.size() || !std::equal(kHeader.begin(), kHeader.end(), wasm.begin()))
    return fail(ErrorCode::invalid_argument, "no module");
  return std::make_shared<ScriptedModule>(written_by(as_text(wasm)));
}

Result<std::shared_ptr<const vm::Module>> ScriptedEngine::load(BytesView artifact) {
  if (!as_text(artifact).starts_with(kMachineCode))
    return fail(ErrorCode::invalid_argument, "no machine code");
  return std::make_shared<ScriptedModule>(to_text(artifact.subspan(kMachineCode.size())));
}

}  // namespace tau::testnet
