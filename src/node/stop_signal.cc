#include "node/stop_signal.h"

#include <pthread.h>
#include <signal.h>

#include <memory>

namespace tau::node {

StopSignal::StopSignal(runtime::Loop& loop, std::function<void()> on_signal) {
  // SIGPIPE would end us for a client that went away; writes say EPIPE instead.
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGUSR2);  // our own, to end the thread
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  auto shared = std::make_shared<std::function<void()>>(std::move(on_signal));
  thread_ = std::thread([set, shared, &loop] {
    int number = 0;
    while (sigwait(&set, &number) == 0 && number != SIGUSR2) loop.post([shared] { (*shared)(); });
  });
}

StopSignal::~StopSignal() {
  pthread_kill(thread_.native_handle(), SIGUSR2);
  thread_.join();
}

}  // namespace tau::node
