// tau_sim: runs scenarios of the simulator, many seeds at once, each in a process of its own, so
// that one which dies names its seed. Exit code 0: every seed held.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <thread>

#include "testnet/simulation/measure.h"
#include "testnet/simulation/scenario.h"

namespace tau::testnet::simulation {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kUsage =
    R"(tau_sim --seeds A-B [--nodes N] [--seconds S] [--jobs J] [--until-failure]    runs seeds A to B
tau_sim --seed A   [--nodes N] [--seconds S] [--without LIST] [--trace] [--shrink]    runs one
tau_sim --measure [--nodes N] [--seconds S] [--pushes P]    counts messages and bytes; P pushes a minute
  --without   numbers of faults that do not happen: 0,3,7-9
  --trace     prints what happened, and what every node said
  --shrink    looks for the fewest faults with which it still fails
)";

struct Arguments {
  std::uint64_t first = 1, last = 1;
  ScenarioOptions scenario;
  std::size_t jobs = std::max(1u, std::thread::hardware_concurrency());
  bool trace = false, shrink = false, one = false, until_failure = false, measure = false;
  double pushes_a_minute = 0;
};

std::string command_of(const Arguments& a, std::uint64_t seed,
                       const std::set<std::size_t>& without) {
  std::string text = fmt::format("tau_sim --seed {} --nodes {} --seconds {}", seed,
                                 a.scenario.nodes, a.scenario.lasts / 1s);
  if (!without.empty()) text += fmt::format(" --without {}", fmt::join(without, ","));
  return text;
}

std::optional<std::set<std::size_t>> numbers(const std::string& text) {
  std::set<std::size_t> out;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    char* end = nullptr;
    const auto from = std::strtoull(part.c_str(), &end, 10);
    auto to = from;
    if (*end == '-') to = std::strtoull(end + 1, &end, 10);
    if (*end != 0 || to < from || to - from > 100'000) return std::nullopt;
    for (auto i = from; i <= to; ++i) out.insert(i);
  }
  return out;
}

std::optional<Arguments> parse(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--trace") {
      a.trace = true;
      continue;
    }
    if (name == "--measure") {
      a.measure = true;
      continue;
    }
    if (name == "--until-failure") {
      a.until_failure = true;
      continue;
    }
    if (name == "--shrink") {
      a.shrink = true;
      continue;
    }
    if (++i >= argc) return std::nullopt;
    const std::string value = argv[i];
    const auto number = std::strtoull(value.c_str(), nullptr, 10);
    if (name == "--seeds") {
      a.first = a.last = number;
      if (const auto dash = value.find('-'); dash != value.npos)
        a.last = std::strtoull(value.c_str() + dash + 1, nullptr, 10);
      if (a.last < a.first) return std::nullopt;
    } else if (name == "--seed") {
      a.first = a.last = number;
      a.one = true;
    } else if (name == "--nodes") {
      a.scenario.nodes = number;
    } else if (name == "--seconds") {
      a.scenario.lasts = std::chrono::seconds(number);
    } else if (name == "--pushes") {
      a.pushes_a_minute = std::strtod(value.c_str(), nullptr);
    } else if (name == "--jobs") {
      a.jobs = std::max<std::size_t>(number, 1);
    } else if (name == "--without") {
      const auto which = numbers(value);
      if (!which) return std::nullopt;
      a.scenario.without = *which;
    } else {
      return std::nullopt;
    }
  }
  return a;
}

double cpu_seconds() {
  timespec spent{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) / 1e9;
}

int run_one(Arguments a) {
  a.scenario.seed = a.first;
  std::set<std::size_t> without = a.scenario.without;
  if (a.shrink) {
    without = shrink(a.scenario, 60);
    a.scenario.without = without;
  }
  a.scenario.keep = a.trace ? Trace::Keep::logs : Trace::Keep::events;
  const double began = cpu_seconds();
  const Outcome out = run_scenario(a.scenario);
  const double spent = cpu_seconds() - began;
  for (const std::string& line : out.trace) fmt::print("{}\n", line);
  fmt::print("\nfaults:\n");
  for (std::size_t i = 0; i < out.faults.size(); ++i)
    if (!without.contains(i)) fmt::print("  {}\n", out.faults[i]);
  for (const std::string& what : out.violations) fmt::print("VIOLATED: {}\n", what);
  const double virtual_seconds = std::chrono::duration<double>(out.virtual_time).count();
  fmt::print(
      "seed {}: {}; {:.1f} virtual s in {:.2f} s of CPU ({:.0f} x); {} messages, {} pushes, {} "
      "answers; digest {:016x}\n",
      a.first, out.violations.empty() ? "held" : "FAILED", virtual_seconds, spent,
      virtual_seconds / spent, out.messages, out.pushes, out.answers, out.digest);
  fmt::print("replay: {}\n", command_of(a, a.first, without));
  return out.violations.empty() ? 0 : 1;
}

int run_measure(const Arguments& a) {
  const double minutes = std::chrono::duration<double>(a.scenario.lasts).count() / 60;
  const auto cost = measure(a.scenario.nodes, a.pushes_a_minute, minutes);
  if (!cost) {
    fmt::print("{}\n", cost.error().to_string());
    return 1;
  }
  fmt::print(
      "{{\"nodes\": {}, \"pushes_a_minute\": {}, \"pushes\": {}, \"messages\": {:.0f}, \"bytes\": "
      "{:.0f}, \"connections\": {:.0f}, \"virtual_per_cpu_second\": {:.1f}, \"messages_of\": {{",
      cost->nodes, a.pushes_a_minute, cost->pushes, cost->messages, cost->bytes, cost->connections,
      cost->virtual_per_cpu_second);
  for (std::size_t kind = 0; kind < cost->messages_of_kind.size(); ++kind)
    fmt::print("{}\"{}\": {:.0f}", kind == 0 ? "" : ", ", p2p::simulated::kKindNames[kind],
               cost->messages_of_kind[kind]);
  fmt::print("}}}}\n");
  return 0;
}

// What a child says of its seed: one line of numbers, then a line for each violation.
void report(int fd, const Outcome& out, double cpu) {
  std::string text = fmt::format(
      "{} {} {} {} {} {:016x} {}\n", std::chrono::duration<double>(out.virtual_time).count(), cpu,
      out.messages, out.pushes, out.answers, out.digest, out.faults.size());
  for (const std::string& what : out.violations) text += what + "\n";
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto n = ::write(fd, rest.data(), rest.size());
    if (n <= 0) break;
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
}

struct Child {
  std::uint64_t seed = 0;
  int out = -1;
  std::string said;
};

struct Totals {
  double virtual_s = 0, cpu_s = 0;
  std::uint64_t messages = 0, pushes = 0, answers = 0, faults = 0;
  std::size_t held = 0;
  std::vector<std::pair<std::uint64_t, std::string>> failures;
};

// A world that does not move on in this time hangs for good.
constexpr unsigned kRealSecondsMax = 1800;

void begin(const Arguments& a, std::uint64_t seed, std::map<pid_t, Child>& children) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
  std::cout.flush();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::alarm(kRealSecondsMax);
    ScenarioOptions options = a.scenario;
    options.seed = seed;
    const Outcome out = run_scenario(options);
    report(ends[1], out, cpu_seconds());
    std::_Exit(out.violations.empty() ? 0 : 1);
  }
  ::close(ends[1]);
  if (pid < 0) std::abort();
  children[pid] = {seed, ends[0], ""};
}

void end(const Arguments& a, Child child, int status, Totals& totals) {
  std::istringstream in(child.said);
  std::string line;
  std::getline(in, line);
  std::istringstream numbers_in(line);
  double virtual_s = 0, cpu_s = 0;
  std::uint64_t messages = 0, pushes = 0, answers = 0, faults = 0;
  std::string digest;
  numbers_in >> virtual_s >> cpu_s >> messages >> pushes >> answers >> digest >> faults;
  totals.virtual_s += virtual_s;
  totals.cpu_s += cpu_s;
  totals.messages += messages;
  totals.pushes += pushes;
  totals.answers += answers;
  totals.faults += faults;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    ++totals.held;
    return;
  }
  std::string why;
  if (WIFSIGNALED(status))
    why = fmt::format("the program died: {}", ::strsignal(WTERMSIG(status)));
  else
    std::getline(in, why);
  fmt::print("seed {} FAILED: {}\n  replay: {} --trace   (--shrink: with fewer faults)\n",
             child.seed, why, command_of(a, child.seed, a.scenario.without));
  std::cout.flush();
  std::fflush(stdout);
  totals.failures.emplace_back(child.seed, why);
}

int run_many(const Arguments& a) {
  const auto began = std::chrono::steady_clock::now();
  std::map<pid_t, Child> children;
  Totals totals;
  std::uint64_t next = a.first;
  const std::uint64_t all = a.last - a.first + 1;
  auto said = began;
  while (next <= a.last || !children.empty()) {
    if (a.until_failure && !totals.failures.empty()) next = a.last + 1;
    while (next <= a.last && children.size() < a.jobs) begin(a, next++, children);
    std::vector<pollfd> ready;
    for (const auto& [pid, child] : children) ready.push_back({child.out, POLLIN, 0});
    ::poll(ready.data(), ready.size(), 1000);
    for (auto it = children.begin(); it != children.end();) {
      Child& child = it->second;
      const auto mine =
          std::ranges::find_if(ready, [&](const pollfd& p) { return p.fd == child.out; });
      char buffer[4096];
      const bool readable = mine != ready.end() && mine->revents != 0;
      const auto n = readable ? ::read(child.out, buffer, sizeof buffer) : 1;
      if (readable && n > 0) child.said.append(buffer, static_cast<std::size_t>(n));
      if (n > 0) {
        ++it;
        continue;
      }
      int status = 0;
      ::waitpid(it->first, &status, 0);
      ::close(child.out);
      end(a, std::move(child), status, totals);
      it = children.erase(it);
    }
    const auto now = std::chrono::steady_clock::now();
    if (now - said > 10s) {
      said = now;
      fmt::print("{} of {} seeds held, {} failed, {} s\n", totals.held, all, totals.failures.size(),
                 std::chrono::duration_cast<std::chrono::seconds>(now - began).count());
      std::fflush(stdout);
    }
  }
  const double real_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  fmt::print(
      "{} of {} seeds held; {} nodes; {} faults, {} pushes, {} answers, {} messages; {:.0f} "
      "virtual s in {:.1f} s ({:.1f} s of CPU): {:.0f} virtual s per second of a core\n",
      totals.held, all, a.scenario.nodes, totals.faults, totals.pushes, totals.answers,
      totals.messages, totals.virtual_s, real_s, totals.cpu_s,
      totals.cpu_s > 0 ? totals.virtual_s / totals.cpu_s : 0);
  return totals.failures.empty() ? 0 : 1;
}

}  // namespace
}  // namespace tau::testnet::simulation

int main(int argc, char** argv) {
  using namespace tau::testnet::simulation;
  const auto arguments = parse(argc, argv);
  if (argc < 2 || !arguments) {
    std::cerr << kUsage;
    return 2;
  }
  if (arguments->measure) return run_measure(*arguments);
  return arguments->one ? run_one(*arguments) : run_many(*arguments);
}
