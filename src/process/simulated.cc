#include "process/simulated.h"

#include "runtime/loop.h"

namespace tau::process {
namespace {

constexpr std::size_t kRememberedMax = 1000;  // a long simulation must not grow for its history

}  // namespace

void SimulatedRunner::on(std::string program, Handler handler) {
  handlers_.emplace_back(std::move(program), std::move(handler));
}

Task<Result<Exit>> SimulatedRunner::run(Command command, OutputSink sink) {
  if (command.argv.empty()) co_return fail(ErrorCode::invalid_argument, "no program to run");
  if (command.sandbox) CO_TRY_STATUS(sandbox_available());
  if (ran_.size() == kRememberedMax) ran_.erase(ran_.begin());
  ran_.push_back(command);
  Handler handler;
  for (const auto& [program, candidate] : handlers_) {
    if (program == command.argv[0]) handler = candidate;
  }
  if (!handler)
    co_return fail(ErrorCode::not_found, "there is no program \"" + command.argv[0] + "\"");

  std::uint64_t written = 0;
  bool too_much = false;
  OutputSink bounded = [&](Output output, BytesView bytes) {
    written += bytes.size();
    if (written > command.limits.output_bytes_max) too_much = true;
    if (!too_much && sink) sink(output, bytes);
  };
  CO_TRY(Exit exit, runtime::with_deadline(command.limits.wall_time_max, command.argv[0],
                                           handler(command, bounded)));
  too_much = too_much || exit.results.size() > command.limits.results_bytes_max;
  if (too_much) {
    exit = Exit{};
    exit.code = 128 + 9;
    exit.too_much_output = true;
  }
  co_return exit;
}

Task<Status> SimulatedRunner::sandbox_available() {
  if (!refusal_.empty()) co_return fail(ErrorCode::failed_precondition, refusal_);
  co_return Status{};
}

}  // namespace tau::process
