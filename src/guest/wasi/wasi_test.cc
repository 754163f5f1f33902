#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>

#include "guest/context.h"
#include "guest/host_functions.h"
#include "runtime/loop.h"

namespace tau::guest {
namespace {

class Wasi : public testing::Test {
 protected:
  std::uint64_t call(std::string_view name, std::vector<std::uint64_t> cells) {
    cells.resize(16);
    Context context{.clock = loop_, .random = random_, .log = log_, .program = "functions/ping"};
    for (const vm::HostFunction& f : table_) {
      if (f.name != name) continue;
      vm::HostCall host{memory_, &context};
      std::uint64_t result = 0;
      EXPECT_EQ(f.function(host, cells.data(), &result), vm::HostOutcome::returned);
      return result;
    }
    throw std::out_of_range(std::string(name));
  }
  template <class T>
  T at(std::size_t offset) const {
    T value;
    std::memcpy(&value, memory_.data() + offset, sizeof value);
    return value;
  }
  template <class T>
  void put(std::size_t offset, T value) {
    std::memcpy(memory_.data() + offset, &value, sizeof value);
  }
  void subscribe_clock(std::size_t offset, std::uint64_t user_data, std::uint64_t timeout_ns,
                       std::uint16_t flags) {
    put(offset, user_data);
    put(offset + 8, std::uint8_t{0});
    put(offset + 16, std::uint32_t{1});
    put(offset + 24, timeout_ns);
    put(offset + 40, flags);
  }

  const std::vector<vm::HostFunction> table_ = host_functions();
  std::array<std::uint8_t, 1024> memory_{};
  runtime::VirtualLoop loop_{1'700'000'000'123};
  SeededRandom random_{1};
  LogSink log_;
};

TEST_F(Wasi, GivesTheProgramsNameAndNoEnvironment) {
  EXPECT_EQ(call("args_sizes_get", {0, 4}), 0u);
  EXPECT_EQ(at<std::uint32_t>(0), 1u);
  EXPECT_EQ(at<std::uint32_t>(4), 15u);
  EXPECT_EQ(call("args_get", {8, 100}), 0u);
  EXPECT_EQ(at<std::uint32_t>(8), 100u);
  EXPECT_STREQ(reinterpret_cast<const char*>(memory_.data()) + 100, "functions/ping");
  EXPECT_EQ(call("environ_sizes_get", {0, 4}), 0u);
  EXPECT_EQ(at<std::uint64_t>(0), 0u);
}

TEST_F(Wasi, TellsTheTimeOfItsNode) {
  EXPECT_EQ(call("clock_time_get", {0, 1, 0}), 0u);
  EXPECT_EQ(at<std::uint64_t>(0), 1'700'000'000'123'000'000u);
  EXPECT_EQ(call("clock_time_get", {1, 1, 0}), 0u);
  EXPECT_EQ(at<std::int64_t>(0), loop_.now().since_start.count());
  EXPECT_EQ(call("clock_time_get", {7, 1, 0}), 28u);
  EXPECT_EQ(call("clock_res_get", {0, 0}), 0u);
  EXPECT_EQ(at<std::uint64_t>(0), 1'000'000u);
}

TEST_F(Wasi, GathersWhatIsPrintedUpToABound) {
  std::memcpy(memory_.data() + 200, "hello world", 11);
  put(0, std::uint32_t{200});
  put(4, std::uint32_t{6});
  put(8, std::uint32_t{206});
  put(12, std::uint32_t{5});
  EXPECT_EQ(call("fd_write", {1, 0, 2, 16}), 0u);
  EXPECT_EQ(at<std::uint32_t>(16), 11u);
  EXPECT_EQ(log_.text(), "hello world");
  EXPECT_EQ(call("fd_write", {2, 0, 1, 16}), 0u);
  std::vector<std::pair<LogStream, std::string>> pieces;
  log_.for_each([&](LogStream to, std::string_view text) { pieces.emplace_back(to, text); });
  EXPECT_EQ(pieces, (std::vector<std::pair<LogStream, std::string>>{
                        {LogStream::output, "hello world"}, {LogStream::error, "hello "}}));
  EXPECT_EQ(call("fd_write", {0, 0, 2, 16}), 8u);
  EXPECT_EQ(call("fd_write", {3, 0, 2, 16}), 8u);
  EXPECT_EQ(call("fd_write", {1, 0, 1025, 16}), 28u);
  for (int i = 0; i < 10'000; ++i) call("fd_write", {2, 0, 2, 16});
  EXPECT_EQ(log_.text().size(), 64u << 10);
  EXPECT_TRUE(log_.truncated());
}

TEST_F(Wasi, HasThreeStreamsAndNoFiles) {
  EXPECT_EQ(call("fd_fdstat_get", {1, 0}), 0u);
  EXPECT_EQ(memory_[0], 2);
  EXPECT_EQ(call("fd_fdstat_get", {3, 0}), 8u);
  EXPECT_EQ(call("fd_prestat_get", {3, 0}), 8u);
  put(0, std::uint32_t{9});
  EXPECT_EQ(call("fd_read", {0, 8, 1, 0}), 0u);
  EXPECT_EQ(at<std::uint32_t>(0), 0u);
  EXPECT_EQ(call("fd_seek", {1, 0, 0, 0}), 70u);
  EXPECT_EQ(call("fd_close", {1}), 0u);
  EXPECT_EQ(call("fd_close", {4}), 8u);
  EXPECT_EQ(call("path_open", {3}), 52u);
}

TEST_F(Wasi, PollsWhatIsReadyAndSaysThatItCannotWait) {
  subscribe_clock(0, 77, 0, 0);
  subscribe_clock(48, 78, 1'000'000'000, 0);
  EXPECT_EQ(call("poll_oneoff", {0, 200, 2, 300}), 0u);
  EXPECT_EQ(at<std::uint32_t>(300), 1u);
  EXPECT_EQ(at<std::uint64_t>(200), 77u);
  EXPECT_EQ(at<std::uint16_t>(208), 0u);
  EXPECT_EQ(call("poll_oneoff", {48, 200, 1, 300}), 52u);
  EXPECT_EQ(log_.text(), "poll_oneoff: waiting is not offered here, asked for 1000 ms\n");
  EXPECT_EQ(call("poll_oneoff", {0, 200, 0, 300}), 28u);
}

TEST_F(Wasi, FillsRandomBytesWithinABound) {
  EXPECT_EQ(call("random_get", {0, 32}), 0u);
  EXPECT_NE(at<std::uint64_t>(0), at<std::uint64_t>(8));
  EXPECT_EQ(call("random_get", {0, (1u << 20) + 1}), 28u);
}

}  // namespace
}  // namespace tau::guest
