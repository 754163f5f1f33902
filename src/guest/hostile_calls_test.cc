// Every host function is called with arguments of a hostile guest: nothing may be read or written
// outside its memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "guest/context.h"
#include "guest/host_functions.h"
#include "guest/http_event/exchange.h"
#include "runtime/loop.h"

namespace tau::guest {
namespace {

class HostileCalls : public testing::Test {
 protected:
  static constexpr std::size_t kMemory = 4096;

  struct Answer {
    vm::HostOutcome outcome;
    std::uint64_t result;
  };
  Answer call(std::string_view name, std::vector<std::uint64_t> cells, Context& context) {
    cells.resize(16);
    for (const vm::HostFunction& f : table_) {
      if (f.name != name) continue;
      vm::HostCall host{{memory_.get(), kMemory}, &context};
      Answer answer{};
      answer.outcome = f.function(host, cells.data(), &answer.result);
      return answer;
    }
    throw std::out_of_range(std::string(name));
  }
  std::uint32_t u32_at(std::size_t at) const {
    std::uint32_t value;
    std::memcpy(&value, memory_.get() + at, sizeof value);
    return value;
  }
  Context context(HttpExchange* x) {
    return {.clock = loop_, .random = random_, .log = log_, .http = x, .event_id = 5};
  }

  const std::vector<vm::HostFunction> table_ = host_functions();
  // On the heap and exactly sized, so that the address sanitizer sees one byte too many.
  std::unique_ptr<std::uint8_t[]> memory_ = std::make_unique<std::uint8_t[]>(kMemory);
  runtime::VirtualLoop loop_;
  SeededRandom random_{42};
  LogSink log_{1024};
  const HttpHeaderView headers_[2] = {{"user-agent", "curl"}, {"X-Long", "0123456789"}};
  const HttpRequest request_ = {.method = "GET",
                                .host = "h.test",
                                .path = "/path",
                                .query = "a=1&b=2",
                                .headers = headers_,
                                .body = as_bytes("body of the request")};
};

TEST_F(HostileCalls, NameEveryFunctionOnceAndAllOfWasi) {
  std::map<std::string, int> modules;
  std::set<std::string> names;
  for (const vm::HostFunction& f : table_) {
    EXPECT_TRUE(names.insert(f.module + "." + f.name).second) << f.name;
    EXPECT_TRUE(f.function);
    EXPECT_LE(f.parameters.size(), 9u);
    ++modules[f.module];
  }
  // 1 event type, 23 of the http event with 2 aliases; 46 of preview 1; 3.
  EXPECT_EQ(modules["taubyte/sdk"], 26);
  EXPECT_EQ(modules["wasi_snapshot_preview1"], 46);
  EXPECT_EQ(modules["env"], 3);
}

TEST_F(HostileCalls, WithTheWrongEventFindNone) {
  HttpExchange x(request_);
  Context c = context(&x);
  for (const vm::HostFunction& f : table_) {
    if (f.module != "taubyte/sdk" || f.name == "getEventType") continue;
    EXPECT_EQ(call(f.name, {4, 0, 0, 0, 0}, c).result, 1u) << f.name;
  }
  call("getEventType", {4, 0}, c);
  EXPECT_EQ(u32_at(0), 0u);
}

TEST_F(HostileCalls, OnAnEventThatIsNoHttpRequestAreRefused) {
  Context c = context(nullptr);
  for (const vm::HostFunction& f : table_) {
    if (f.module != "taubyte/sdk" || f.name == "getEventType") continue;
    EXPECT_EQ(call(f.name, {5, 0, 0, 0, 0}, c).result, 4u) << f.name;
  }
}

TEST_F(HostileCalls, OutsideTheMemoryGetTheAbiCodes) {
  HttpExchange x(request_);
  Context c = context(&x);
  const std::uint64_t end = kMemory, last = kMemory - 3, far = 0xFFFF'FFFF;
  for (const std::uint64_t at : {end, last, far}) {
    EXPECT_EQ(call("getHttpEventPathSize", {5, at}, c).result, 12u);
    EXPECT_EQ(call("getHttpEventPath", {5, at, 5}, c).result, 3u);
    EXPECT_EQ(call("getHttpEventMethod", {5, at, 3}, c).result, at == last ? 0u : 3u);
    EXPECT_EQ(call("getHttpEventMethod", {5, at, 4}, c).result, 2u);
    EXPECT_EQ(call("eventHttpWrite", {5, at, 4, 0}, c).result, 3u);
    EXPECT_EQ(call("eventHttpWrite", {5, 0, 4, at}, c).result, 12u);
    EXPECT_EQ(call("eventHttpHeaderAdd", {5, 0, 4, at, 4}, c).result, 3u);
    EXPECT_EQ(call("eventHttpRedirect", {5, at, 4, 302}, c).result, 3u);
    EXPECT_EQ(call("getHttpEventHeaders", {5, at, 10, 0, 0}, c).result, 3u);
    EXPECT_EQ(call("getHttpEventQueryValueByNameSize", {5, at, 0, 1}, c).result, 12u);
    EXPECT_EQ(call("readHttpEventBody", {5, 0, 4, at}, c).result, 3u);
    EXPECT_EQ(call("readHttpEventBody", {5, at, 4, 0}, c).result, 3u);
    EXPECT_EQ(call("fd_write", {1, at, 1, 0}, c).result, 21u);
    EXPECT_EQ(call("random_get", {at, 8}, c).result, 21u);
    EXPECT_EQ(call("clock_time_get", {0, 0, at}, c).result, 21u);
    EXPECT_EQ(call("args_get", {0, at}, c).result, 21u);
    EXPECT_EQ(call("fd_fdstat_get", {1, at}, c).result, 21u);
    EXPECT_EQ(call("poll_oneoff", {at, 0, 1, 0}, c).result, 21u);
  }
  EXPECT_FALSE(x.committed());
  // Nothing of the body was consumed by the refused reads.
  EXPECT_EQ(call("readHttpEventBody", {5, 100, 1000, 0}, c).result, 8u);
  EXPECT_EQ(u32_at(0), 19u);
}

TEST_F(HostileCalls, WithEmptyBytesAreLegalAtAnyAddress) {
  HttpExchange x(HttpRequest{.path = ""});
  Context c = context(&x);
  EXPECT_EQ(call("getHttpEventPath", {5, 0xFFFF'FFFF, 0}, c).result, 0u);
  EXPECT_EQ(call("eventHttpWrite", {5, 0xFFFF'FFFF, 0, 0}, c).result, 0u);
  EXPECT_EQ(call("getHttpEventHeadersSize", {5, 0, 0xFFFF'FFFF, 0}, c).result, 0u);
  EXPECT_EQ(call("random_get", {0xFFFF'FFFF, 0}, c).result, 0u);
}

// Values that break arithmetic, and such as make sense, so that calls get past their first checks.
TEST_F(HostileCalls, OfAnyKindStayInsideTheMemory) {
  SeededRandom dice(2026);
  constexpr std::uint64_t kEdges[] = {0,           1,           2,           3,
                                      5,           8,           16,          47,
                                      48,          100,         302,         kMemory - 48,
                                      kMemory - 4, kMemory - 1, kMemory,     0x7FFF'FFFF,
                                      0x8000'0000, 0xFFFF'FFF0, 0xFFFF'FFFF, ~0ull};
  for (int round = 0; round < 3000; ++round) {
    HttpExchange x(request_, {.body_bytes_max = 8192, .header_bytes_max = 4096, .headers_max = 16});
    LogSink log(1024);
    Context c{.clock = loop_, .random = random_, .log = log, .http = &x, .event_id = 5};
    dice.fill({memory_.get(), kMemory});
    for (const vm::HostFunction& f : table_) {
      std::vector<std::uint64_t> cells;
      for (const vm::ValueType type : f.parameters) {
        const std::uint64_t cell =
            dice.below(8) == 0 ? dice.next_u64() : kEdges[dice.below(std::size(kEdges))];
        cells.push_back(type == vm::ValueType::i32 ? cell & 0xFFFF'FFFF : cell);
      }
      if (f.module == "taubyte/sdk" && dice.below(4) != 0) cells[0] = 5;
      const Answer answer = call(f.name, cells, c);
      if (f.name == "proc_exit") {
        EXPECT_EQ(answer.outcome, vm::HostOutcome::exited);
      } else {
        EXPECT_EQ(answer.outcome, vm::HostOutcome::returned);
        EXPECT_LE(answer.result, 125u) << f.name;  // the SDKs' tables of names end there
      }
    }
    EXPECT_LE(x.body().size(), 8192u);
    EXPECT_LE(log.text().size(), 1024u);
    EXPECT_LE(x.headers().size(), 17u);
  }
}

}  // namespace
}  // namespace tau::guest
