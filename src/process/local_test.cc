#include "process/local.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "process/archive.h"
#include "process/sandbox.h"
#include "runtime/task_group.h"

namespace tau::process {
namespace {

using namespace std::chrono_literals;

Command shell(std::string script) {
  Command command;
  command.argv = {"/bin/sh", "-c", std::move(script)};
  command.limits.wall_time_max = 20s;
  return command;
}

Command sandboxed(std::string script) {
  Command command = shell(std::move(script));
  auto& box = command.sandbox.emplace();
  box.read_only = system_binds();
  box.tmpfs = {{"/out", 1u << 20}, {"/tmp", 64u << 20}};
  command.limits.memory_bytes_max = 256u << 20;
  command.limits.processes_max = 32;
  return command;
}

class LocalRunnerTest : public ::testing::Test {
 protected:
  struct Ran {
    Result<Exit> exit;
    std::string out, err;
    std::string all() const {
      return (exit ? exit->why() : exit.error().to_string()) + "\n" + out + err;
    }
  };
  Ran run(Command command) {
    Ran ran{Exit{}, {}, {}};
    ran.exit =
        runtime::block_on(loop, runner.run(std::move(command), [&](Output output, BytesView bytes) {
          (output == Output::standard_output ? ran.out : ran.err) += as_text(bytes);
        }));
    return ran;
  }
  // The tests of this class need namespaces; a machine without them must say so.
  void need_sandbox() {
    const Status status = runtime::block_on(loop, runner.sandbox_available());
    ASSERT_TRUE(status) << status.error().message();
  }
  // Its processes, those of zombies apart.
  std::vector<std::filesystem::path> processes_of(const std::string& mark) {
    std::vector<std::filesystem::path> out;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      std::ifstream in(entry.path() / "cmdline", std::ios::binary);
      std::string line((std::istreambuf_iterator<char>(in)), {});
      if (line.find(mark) != std::string::npos) out.push_back(entry.path());
    }
    return out;
  }
  bool gone(const std::string& mark) {
    const TimePoint give_up = loop.now() + 5s;
    while (!processes_of(mark).empty() && loop.now() < give_up)
      (void)runtime::block_on(loop, runtime::sleep_for(5ms));
    return processes_of(mark).empty();
  }

  runtime::RealLoop loop;
  LocalRunner runner{loop, {}, Logger()};
};

TEST_F(LocalRunnerTest, RunsAProgramWithItsInputAndEnvironmentAlone) {
  ::setenv("SECRET_OF_THE_NODE", "1", 1);
  Command command = shell("cat; echo \" $A $SECRET_OF_THE_NODE\"; pwd; echo oops >&2; exit 3");
  command.input = to_bytes("in");
  command.environment = {{"A", "b"}, {"PATH", "/usr/bin:/bin"}};
  command.directory = "/usr";
  const Ran ran = run(std::move(command));
  ASSERT_TRUE(ran.exit) << ran.all();
  EXPECT_EQ(ran.exit->code, 3);
  EXPECT_EQ(ran.exit->why(), "exit code 3");
  EXPECT_EQ(ran.out, "in b \n/usr\n");
  EXPECT_EQ(ran.err, "oops\n");
}

TEST_F(LocalRunnerTest, NamesAProgramThatIsMissing) {
  Command command;
  command.argv = {"no-such-program-here"};
  const Ran ran = run(std::move(command));
  ASSERT_FALSE(ran.exit);
  EXPECT_EQ(ran.exit.error().code(), ErrorCode::not_found);
}

TEST_F(LocalRunnerTest, StopsAFloodOfOutput) {
  Command command = shell("yes");
  command.limits.output_bytes_max = 100'000;
  const Ran ran = run(std::move(command));
  ASSERT_TRUE(ran.exit) << ran.exit.error().to_string();
  EXPECT_TRUE(ran.exit->too_much_output);
  EXPECT_EQ(ran.out.size(), 100'000u);
}

TEST_F(LocalRunnerTest, KillsAllThatItStartedWhenTheTimeIsUp) {
  const std::string mark = "3141.5926";
  Command command = shell("sleep " + mark + " & sleep " + mark + " & wait");
  command.limits.wall_time_max = 300ms;
  const Ran ran = run(std::move(command));
  ASSERT_FALSE(ran.exit);
  EXPECT_EQ(ran.exit.error().code(), ErrorCode::deadline_exceeded);
  EXPECT_TRUE(gone(mark));
}

Task<void> run_into(LocalRunner& runner, Command command, std::optional<Result<Exit>>& into) {
  into = co_await runner.run(std::move(command), {});
}

TEST_F(LocalRunnerTest, EndsWithItsTask) {
  const std::string mark = "2718.2818";
  std::optional<Result<Exit>> exit;
  runtime::TaskGroup group(loop);
  group.spawn(run_into(runner, shell("sleep " + mark), exit));
  runtime::block_on(loop, group.stop());
  ASSERT_TRUE(exit);
  ASSERT_FALSE(*exit);
  EXPECT_EQ(exit->error().code(), ErrorCode::cancelled);
  EXPECT_TRUE(gone(mark));
}

TEST_F(LocalRunnerTest, DoesNotWaitForWhoeverKeepsThePipeOpen) {
  Command command = shell("setsid sleep 2.125 & echo done");
  command.limits.wall_time_max = 10s;
  const TimePoint start = loop.now();
  const Ran ran = run(std::move(command));
  ASSERT_TRUE(ran.exit);
  EXPECT_EQ(ran.out, "done\n");
  EXPECT_LT(loop.now() - start, 2s);
}

TEST_F(LocalRunnerTest, GivesASandboxedProgramTheProcessorLast) {
  need_sandbox();
  const Ran ran = run(sandboxed("nice; cat /proc/self/autogroup 2>/dev/null || true"));
  ASSERT_TRUE(ran.exit) << ran.all();
  EXPECT_TRUE(ran.out.starts_with("10\n")) << ran.all();
  if (std::filesystem::exists("/proc/self/autogroup")) {
    EXPECT_NE(ran.out.find(" nice 10\n"), std::string::npos) << ran.all();
  }
}

TEST_F(LocalRunnerTest, GivesASandboxedProgramNothingOfTheMachine) {
  need_sandbox();
  const Ran ran = run(sandboxed(R"sh(
    echo "uid $(id -u)"; cat /proc/self/uid_map; echo "caps $(grep CapEff /proc/self/status)"
    echo "home $(ls /root /home /etc/passwd /work /var 2>/dev/null | wc -l)"
    echo "processes $(ls -d /proc/[0-9]* | wc -l)"; echo "links $(tail -n +3 /proc/net/dev | wc -l)"
    for fd in /proc/$$/fd/*; do echo "descriptor ${fd##*/
}"; done
    unshare --user true && echo nested
    env | sort)sh"));
  ASSERT_TRUE(ran.exit) << ran.all();
  EXPECT_NE(ran.out.find("uid 1000\n"), std::string::npos) << ran.all();
  EXPECT_NE(ran.out.find("0000000000000000"), std::string::npos) << ran.all();
  EXPECT_NE(ran.out.find("home 0\n"), std::string::npos) << ran.all();
  EXPECT_NE(ran.out.find("links 1\n"), std::string::npos) << ran.all();  // its own loopback
  EXPECT_EQ(ran.out.find("memfd:input", ran.out.find("memfd:input") + 1), std::string::npos);
  EXPECT_EQ(ran.out.find("nested"), std::string::npos) << ran.all();
  EXPECT_EQ(ran.out.find("SECRET"), std::string::npos) << ran.all();
}

TEST_F(LocalRunnerTest, IsNotRootOutside) {
  need_sandbox();
  const std::string mark = "1414.2135";
  std::optional<Result<Exit>> exit;
  runtime::TaskGroup group(loop);
  group.spawn(run_into(runner, sandboxed("exec sleep " + mark), exit));
  const TimePoint give_up = loop.now() + 10s;
  const auto inside = [&] {
    std::string uids;
    for (const auto& process : processes_of(mark)) {
      std::ifstream in(process / "status");
      for (std::string line; std::getline(in, line);) {
        if (line.starts_with("Uid:")) uids += line + "\n";
      }
    }
    return uids;
  };
  while (inside().empty() && loop.now() < give_up)
    (void)runtime::block_on(loop, runtime::sleep_for(5ms));
  const std::string uids = inside();
  runtime::block_on(loop, group.stop());
  EXPECT_FALSE(uids.empty());
  EXPECT_EQ(uids.find("\t0"), std::string::npos) << uids;
}

TEST_F(LocalRunnerTest, HasNoNetworkInside) {
  need_sandbox();
  const Ran ran = run(sandboxed(
      "cat /proc/net/route | tail -n +2; exec 2>&1; bash -c 'echo > /dev/tcp/127.0.0.1/22' || "
      "echo refused; bash -c 'echo > /dev/tcp/192.0.2.1/80' || echo unreachable"));
  ASSERT_TRUE(ran.exit) << ran.all();
  EXPECT_NE(ran.out.find("refused"), std::string::npos) << ran.all();
  EXPECT_NE(ran.out.find("unreachable"), std::string::npos) << ran.all();
}

TEST_F(LocalRunnerTest, LetsItWriteOnlyWhereItMay) {
  need_sandbox();
  const auto folder =
      std::filesystem::temp_directory_path() / ("sandbox-test-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder / "private");
  std::ofstream(folder / "private" / "file") << "source";
  Command command = sandboxed(
      "cat /src/file; for f in /x /usr/x /dev/x /src/x /etc/x /proc/x; do "
      "(echo > $f) 2>/dev/null && echo wrote $f; done; echo > /out/x && echo fine; "
      "head -c 2000000 /dev/zero > /out/big 2>/dev/null || echo full");
  command.sandbox->read_only.push_back({folder / "private", "/src"});
  const Ran ran = run(std::move(command));
  std::filesystem::remove_all(folder);
  ASSERT_TRUE(ran.exit) << ran.all();
  EXPECT_EQ(ran.out, "sourcefine\nfull\n") << ran.all();
}

TEST_F(LocalRunnerTest, BoundsAForkBomb) {
  need_sandbox();
  for (const bool groups : {true, false}) {
    LocalOptions options;
    options.control_groups = groups;
    LocalRunner bounded(loop, options, Logger());
    std::string out;
    const auto exit = runtime::block_on(
        loop, bounded.run(sandboxed("i=0; while [ $i -lt 300 ]; do i=$((i+1)); sleep 20 & done "
                                    "2>/dev/null; ls -d /proc/[0-9]* | wc -l"),
                          [&](Output, BytesView bytes) { out += as_text(bytes); }));
    ASSERT_TRUE(exit) << exit.error().to_string();
    // dash ends at the first fork that fails, so either nothing or a small count is printed.
    EXPECT_TRUE(exit->code == 0 ? std::stoi(out) < 40 : exit->code == 2) << exit->code << out;
  }
}

TEST_F(LocalRunnerTest, KillsAnEaterOfMemory) {
  need_sandbox();
  Command command = sandboxed("head -c 1500000000 /dev/zero | tail -c 1400000000 | wc -c");
  const Ran ran = run(std::move(command));
  ASSERT_TRUE(ran.exit) << ran.all();
  // Without control groups each process has a limit of its own, and runs into it itself.
  const bool refused = ran.err.find("memory exhausted") != std::string::npos;
  EXPECT_TRUE(ran.exit->out_of_memory || (::geteuid() != 0 && refused)) << ran.all();
}

TEST_F(LocalRunnerTest, KillsSandboxedDescendantsWhenTheTimeIsUp) {
  need_sandbox();
  const std::string mark = "1618.0339";
  Command command = sandboxed("(setsid sleep " + mark + " &) ; (setsid setsid sleep " + mark +
                              " &) ; sleep " + mark);
  command.limits.wall_time_max = 500ms;
  const Ran ran = run(std::move(command));
  ASSERT_FALSE(ran.exit);
  EXPECT_EQ(ran.exit.error().code(), ErrorCode::deadline_exceeded);
  // Control groups tell when the last one is gone; without, the kernel may still be at it.
  EXPECT_TRUE(::geteuid() == 0 ? processes_of(mark).empty() : gone(mark));
}

TEST_F(LocalRunnerTest, ReturnsResultsThatAReaderCanDistrust) {
  need_sandbox();
  Command command = sandboxed("echo wasm > /out/main.wasm; tar -cf - -C /out . >&3");
  command.limits.results_bytes_max = 1u << 20;
  const Ran good = run(command);
  ASSERT_TRUE(good.exit) << good.all();
  const auto files = read_tar(good.exit->results, {}, Links::refuse);
  ASSERT_TRUE(files) << files.error().to_string();
  EXPECT_EQ(as_text(files->at("main.wasm").data), "wasm\n");

  command.argv[2] = "ln -s /etc/shadow /out/main.wasm; tar -cf - -C /out . >&3";
  const Ran link = run(command);
  ASSERT_TRUE(link.exit) << link.all();
  EXPECT_FALSE(read_tar(link.exit->results, {}, Links::refuse));

  command.argv[2] = "cat /dev/zero >&3";
  const Ran flood = run(command);
  ASSERT_TRUE(flood.exit) << flood.all();
  EXPECT_TRUE(flood.exit->too_much_output);
}

TEST_F(LocalRunnerTest, SaysWhatToDoWhereTheSandboxIsMissing) {
  LocalOptions options;
  options.bubblewrap = "bwrap-that-is-not-there";
  LocalRunner without(loop, options, Logger());
  const auto exit = runtime::block_on(loop, without.run(sandboxed("true"), {}));
  ASSERT_FALSE(exit);
  EXPECT_EQ(exit.error().code(), ErrorCode::failed_precondition);
  EXPECT_NE(exit.error().message().find("install bubblewrap"), std::string::npos);
  EXPECT_NE(sandbox_advice("bwrap: no").find("namespaces"), std::string::npos);
}

TEST_F(LocalRunnerTest, HandsFilesOverThatTheSandboxCouldNotOpen) {
  need_sandbox();
  const auto folder =
      std::filesystem::temp_directory_path() / ("sandbox-files-" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
  std::ofstream(folder / "first") << "one";
  std::ofstream(folder / "second") << "two";
  Command command = sandboxed("cat <&6; cat <&5");
  command.files = {folder / "first", folder / "second"};
  const Ran ran = run(command);
  EXPECT_EQ(ran.out, "twoone") << ran.all();
  command.files = {folder / "third"};
  EXPECT_EQ(run(command).exit.error().code(), ErrorCode::not_found);
  std::filesystem::remove_all(folder);
}

TEST(Sandbox, HasANetworkOnlyWhenThatIsSaid) {
  Sandbox box;
  box.read_only = system_binds();
  const auto none = bubblewrap_options(box, {}, {});
  box.network = Network::machine;
  const auto machine = bubblewrap_options(box, {}, {});
  ASSERT_TRUE(none && machine);
  const auto has = [](const auto& options, const std::string& word) {
    return std::ranges::find(*options, word) != options->end();
  };
  EXPECT_TRUE(has(none, "--unshare-net"));
  EXPECT_FALSE(has(none, "/etc/hosts"));
  EXPECT_FALSE(has(machine, "--unshare-net"));
  EXPECT_TRUE(has(machine, "/etc/hosts"));
}

}  // namespace
}  // namespace tau::process
