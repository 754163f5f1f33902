// Programs that follow a script instead of running: for tests and the simulated world. What a
// program would do is a handler that a test gives; it may wait, write to the sink and end. Time
// limits, output limits and cancellation work as in the real runner. Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "process/runner.h"

namespace tau::process {

class SimulatedRunner final : public Runner {
 public:
  // The command and the sink outlive the handler's task.
  using Handler = std::function<Task<Result<Exit>>(const Command& command, OutputSink& sink)>;

  // The last handler whose name is argv[0] answers; without one, run() says not_found.
  void on(std::string program, Handler handler);
  void refuse_sandboxes(std::string why) { refusal_ = std::move(why); }
  const std::vector<Command>& ran() const { return ran_; }  // the last 1000

  Task<Result<Exit>> run(Command command, OutputSink sink) override;
  Task<Status> sandbox_available() override;

 private:
  std::vector<std::pair<std::string, Handler>> handlers_;
  std::string refusal_;
  std::vector<Command> ran_;
};

}  // namespace tau::process
