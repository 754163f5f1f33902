#include "node/stop_signal.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>

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
    if (sigwait(&set, &number) != 0 || number == SIGUSR2) return;
    loop.post([shared] { (*shared)(); });
    // On this thread, because the loop may be what does not come to an end.
    constexpr timespec kWait{kStopTimeMax / std::chrono::seconds(1), 0};
    do {
      number = sigtimedwait(&set, nullptr, &kWait);
    } while (number < 0 && errno == EINTR);
    if (number == SIGUSR2) return;
    constexpr std::string_view kSlow =
        "a part did not stop in time; nothing acknowledged is lost\n";
    constexpr std::string_view kAgain = "told twice to stop; nothing acknowledged is lost\n";
    const std::string_view why = number < 0 ? kSlow : kAgain;
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, why.data(), why.size());
    ::_exit(1);
  });
}

StopSignal::~StopSignal() {
  pthread_kill(thread_.native_handle(), SIGUSR2);
  thread_.join();
}

}  // namespace tau::node
