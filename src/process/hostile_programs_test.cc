// Programs in the sandbox that want out, or want all. What they reach for is really there, outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "process/archive.h"
#include "process/local.h"
#include "process/sandbox.h"

namespace tau::process {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

class HostilePrograms : public ::testing::Test {
 protected:
  HostilePrograms()
      : folder_(fs::temp_directory_path() / ("hostile-programs-" + std::to_string(::getpid()))) {
    fs::create_directories(folder_);
    secret_ = folder_ / "other-project.key";
    std::ofstream(secret_) << "the secret of another project\n";
  }
  ~HostilePrograms() override { fs::remove_all(folder_); }
  void SetUp() override {
    const Status status = runtime::block_on(loop_, runner_.sandbox_available());
    ASSERT_TRUE(status) << status.error().message();
  }

  struct Ran {
    Result<Exit> exit = Exit{};
    std::string said;
    std::string all() const {
      return (exit ? exit->why() : exit.error().to_string()) + "\n" + said;
    }
  };
  static Command command(std::string script) {
    Command out;
    out.argv = {"/bin/bash", "-c", std::move(script)};
    out.limits.wall_time_max = 20s;
    out.limits.memory_bytes_max = 256u << 20;
    out.limits.processes_max = 64;
    out.limits.results_bytes_max = 4u << 20;
    auto& box = out.sandbox.emplace();
    box.read_only = system_binds();
    box.tmpfs = {{"/out", 2u << 20}, {"/tmp", 4u << 20}, {"/src", 2u << 20}};
    return out;
  }
  Ran run(Command what) {
    Ran ran;
    ran.exit = runtime::block_on(loop_, runner_.run(std::move(what), [&](Output, BytesView bytes) {
      if (ran.said.size() < 100'000) ran.said += as_text(bytes);
    }));
    return ran;
  }
  Ran run(std::string script) { return run(command(std::move(script))); }
  static bool runs(const std::string& mark) {
    for (const auto& entry : fs::directory_iterator("/proc")) {
      std::ifstream in(entry.path() / "cmdline", std::ios::binary);
      const std::string line((std::istreambuf_iterator<char>(in)), {});
      if (line.find(mark) != std::string::npos) return true;
    }
    return false;
  }

  fs::path folder_, secret_;
  runtime::RealLoop loop_;
  LocalRunner runner_{loop_, {}, Logger()};
};

// A socket of this machine that listens, and whether anybody came.
class Listening {
 public:
  explicit Listening(int family, int type = SOCK_STREAM)
      : fd_(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {}
  ~Listening() { ::close(fd_); }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

  int on_loopback() {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), size), 0);
    (void)::listen(fd_, 8);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    return ntohs(at.sin_port);
  }
  void on_path(const std::string& path, bool abstract) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path + (abstract ? 1 : 0), path.data(), path.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), size), 0) << std::strerror(errno);
    (void)::listen(fd_, 8);
  }
  bool somebody_came() const {
    if (::accept(fd_, nullptr, nullptr) >= 0) return true;
    char byte = 0;
    return ::recv(fd_, &byte, 1, MSG_DONTWAIT) >= 0;
  }

 private:
  int fd_;
};

TEST_F(HostilePrograms, ReachNobody) {
  Listening tcp(AF_INET), udp(AF_INET, SOCK_DGRAM), path(AF_UNIX), abstract(AF_UNIX);
  const std::string tcp_port = std::to_string(tcp.on_loopback());
  const std::string udp_port = std::to_string(udp.on_loopback());
  const std::string socket_path = (folder_ / "node.sock").string();
  path.on_path(socket_path, false);
  abstract.on_path("hostile-" + std::to_string(::getpid()), true);
  const Ran ran =
      run("exec 2>&1\n"
          "(echo > /dev/tcp/127.0.0.1/" +
          tcp_port +
          ") && echo REACHED tcp\n"
          "(echo hello > /dev/udp/127.0.0.1/" +
          udp_port +
          ")\n"
          "(echo > /dev/tcp/192.0.2.1/80) && echo REACHED abroad\n"
          "(echo hello > /dev/udp/192.0.2.53/53) && echo REACHED dns\n"
          "getent hosts localhost.example.com && echo REACHED names\n"
          "perl -e 'use Socket; for my $a (\"" +
          socket_path + "\", \"\\0hostile-" + std::to_string(::getpid()) +
          "\") { socket(my $s, AF_UNIX, SOCK_STREAM, 0); "
          "print \"REACHED unix\\n\" if connect($s, pack_sockaddr_un($a)); }'\n"
          "ls /run /var/run 2>/dev/null | grep -q . && echo REACHED run\n"
          "echo done\n");
  ASSERT_TRUE(ran.exit) << ran.all();
  EXPECT_THAT(ran.said, HasSubstr("done\n"));
  EXPECT_THAT(ran.said, Not(HasSubstr("REACHED")));
  for (const Listening* one : {&tcp, &udp, &path, &abstract}) EXPECT_FALSE(one->somebody_came());
}

TEST_F(HostilePrograms, SeeNothingOfTheNode) {
  ::setenv("SECRET_OF_THE_NODE", "in the environment", 1);
  const std::string pid = std::to_string(::getpid());
  const std::string secret = secret_.string();
  const Ran ran = run(
      "exec 2>/dev/null\n"
      "cat " +
      secret + " /proc/1/root" + secret + " /proc/" + pid + "/environ /proc/" + pid +
      "/cmdline\n"
      "for p in /proc/[0-9]*; do tr '\\0' '\\n' < $p/environ; ls -l $p/fd; readlink $p/cwd $p/root;"
      " cat $p/root" +
      secret +
      "; done\n"
      "for up in .. ../.. ../../../../../..; do cat /proc/self/cwd/$up" +
      secret +
      "; done\n"
      "for f in /etc/passwd /etc/shadow /root /home /var/lib /sys/kernel /boot; do "
      "test -e $f && echo SEEN $f; done\n"
      "mount -t proc none /tmp && echo MOUNTED\n"
      "mount --bind / /tmp && echo MOUNTED\n"
      "unshare -Ur true && echo NESTED\n"
      "cat /proc/sys/kernel/random/boot_id > /dev/null\n"
      "echo 1 > /proc/sys/kernel/panic && echo WROTE\n"
      "echo b > /proc/sysrq-trigger && echo WROTE\n"
      "kill -9 " +
      pid +
      " && echo KILLED\n"
      "kill -9 1 && sleep 0.1\n"
      "echo done\n");
  ASSERT_TRUE(ran.exit) << ran.all();
  for (const char* bad : {"secret of another", "in the environment", "SEEN", "MOUNTED", "NESTED",
                          "WROTE", "KILLED", "hostile_programs"})
    EXPECT_THAT(ran.said, Not(HasSubstr(bad)));
}

TEST_F(HostilePrograms, MakeNoDevices) {
  const Ran ran = run(
      "exec 2>/dev/null\n"
      "mknod /tmp/mem c 1 1 && echo MADE\n"
      "mknod /out/disk b 8 0 && echo MADE\n"
      "for d in /dev/mem /dev/kmem /dev/sda /dev/vda /dev/kvm /dev/fuse /dev/net/tun /dev/kmsg; do "
      "test -e $d && echo SEEN $d; done\n"
      "cp /bin/true /tmp/t && chmod 4755 /tmp/t && /tmp/t && id -u\n");
  ASSERT_TRUE(ran.exit) << ran.all();
  EXPECT_EQ(ran.said, "1000\n") << ran.all();
}

TEST_F(HostilePrograms, FillOnlyWhatIsTheirs) {
  const Ran ran =
      run("exec 2>/dev/null\n"
          "for f in /out/a /tmp/a /src/a; do head -c 100000000 /dev/zero > $f || echo full; "
          "wc -c < $f; done\n"
          "head -c 100000000 /dev/zero > /dev/shm/a && echo SHM\n"
          "echo > /dev/x && echo DEV\n");
  ASSERT_TRUE(ran.exit) << ran.all();
  EXPECT_EQ(ran.said, "full\n2097152\nfull\n4194304\nfull\n2097152\n") << ran.all();
}

// Results are a tar that the sandbox's own program writes; whatever it says, a reader bounds it.
TEST_F(HostilePrograms, GiveBackNoMoreThanTheBound) {
  const char* const scripts[] = {
      // A file of 100 MB that weighs nothing.
      "truncate -s 100M /out/main.wasm; exec tar -cf - -C /out . >&3",
      "truncate -s 100M /out/main.wasm; exec tar -S -cf - -C /out . >&3",
      // More files than results may name.
      "cd /out; mkdir d; (seq 100000 | xargs touch) 2>/dev/null; exec tar -cf - -C /out . >&3",
      // No archive at all, without end.
      "exec yes >&3",
      // Links out of the folder: a symbolic one, an absolute one, a hard one, a path with "..".
      "ln -s ../../../etc/passwd /out/main.wasm; exec tar -cf - -C /out . >&3",
      "ln -s /proc/1/environ /out/main.wasm; exec tar -cf - -C /out . >&3",
      "echo x > /out/a; ln /out/a /out/main.wasm; exec tar -cf - -C /out . >&3",
      "cd /tmp; echo x > main.wasm; exec tar -cPf - ../tmp/main.wasm >&3",
      "cd /tmp; echo x > main.wasm; exec tar -cPf - /tmp/main.wasm >&3",
      "mkfifo /out/main.wasm; exec tar -cf - -C /out . >&3",
  };
  for (const char* script : scripts) {
    const Ran ran = run(script);
    if (!ran.exit) {
      EXPECT_EQ(ran.exit.error().code(), ErrorCode::deadline_exceeded) << script;
      continue;
    }
    EXPECT_LE(ran.exit->results.size(), 4u << 20) << script;
    const bool ended_badly = ran.exit->code != 0 || ran.exit->too_much_output;
    const auto files = read_tar(ran.exit->results, {.bytes_max = 2u << 20}, Links::refuse);
    EXPECT_TRUE(ended_badly || !files) << script << "\n" << ran.all();
  }
}

TEST_F(HostilePrograms, LeaveNoDaemonBehind) {
  const std::string mark = "1732.0508";
  const Ran ran = run("(setsid nohup sleep " + mark +
                      " > /dev/null 2>&1 < /dev/null &)\n"
                      "trap '' TERM HUP INT\n"
                      "sleep 0.1; echo built\n");
  ASSERT_TRUE(ran.exit) << ran.all();
  EXPECT_EQ(ran.exit->code, 0) << ran.all();
  EXPECT_EQ(ran.said, "built\n");
  const TimePoint give_up = loop_.now() + 5s;
  while (runs(mark) && loop_.now() < give_up)
    (void)runtime::block_on(loop_, runtime::sleep_for(5ms));
  EXPECT_FALSE(runs(mark));
}

TEST_F(HostilePrograms, EndWhenTheirTimeIsUpHoweverTheyClingOn) {
  const std::string mark = "2236.0679";
  Command clinging =
      command("trap '' TERM HUP INT QUIT XCPU\nexec -a x sleep " + mark + " & while :; do :; done");
  clinging.limits.wall_time_max = 500ms;
  const Ran ran = run(std::move(clinging));
  ASSERT_FALSE(ran.exit);
  EXPECT_EQ(ran.exit.error().code(), ErrorCode::deadline_exceeded);
  EXPECT_FALSE(runs(mark));
}

}  // namespace
}  // namespace tau::process
