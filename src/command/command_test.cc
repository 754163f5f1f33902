#include <gtest/gtest.h>

#include "codec/peer_id.h"
#include "codec/varint.h"
#include "command/members.h"
#include "p2p/simulated/network.h"

namespace tau::command {
namespace {

using namespace std::chrono_literals;

struct Add {
  static constexpr std::string_view kName = "add";
  static constexpr Callers kCallers = callers("client");
  static constexpr Duration kDeadline = 5s;
  struct Request {
    std::int64_t a = 0, b = 0;
    static constexpr auto fields() {
      return std::tuple{codec::field("a", &Request::a), codec::field("b", &Request::b)};
    }
  };
  struct Response {
    std::int64_t sum = 0;
    static constexpr auto fields() { return std::tuple{codec::field("sum", &Response::sum)}; }
  };
};
struct Wait {
  static constexpr std::string_view kName = "wait";
  static constexpr Callers kCallers = kEveryMember;
  static constexpr Duration kDeadline = 5s;
  struct Request {
    static constexpr auto fields() { return std::tuple{}; }
  };
  using Response = Empty;
};
constexpr std::string_view kProtocol = "/tau/test/1";

class Service {
 public:
  Task<Result<Add::Response>> handle(Peer, Add::Request r) {
    if (r.a < 0) co_return fail(ErrorCode::invalid_argument, "a is negative");
    co_return Add::Response{r.a + r.b};
  }
  Task<Result<Empty>> handle(Peer, Wait::Request) {
    ++waiting;
    auto slept = co_await runtime::sleep_for(24h);
    --waiting;
    CO_TRY_SYNC_STATUS(slept);
    co_return Empty{};
  }
  int waiting = 0;
};

class Commands : public testing::Test {
 protected:
  Commands()
      : members_(loop_, random_, [this](const crypto::KeyPair& key, p2p::Admission admission) {
          return std::make_unique<p2p::simulated::SimulatedHost>(
              network_, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
        }) {
    members_.add({"test"});
    members_.add({"client"});
    members_.add({"other"});
    EXPECT_TRUE(runtime::block_on(loop_, members_.start()));
    members_[0].router.serve(kProtocol, service_, List<Add, Wait>{});
  }
  ~Commands() override {
    runtime::block_on(loop_, members_[0].router.unserve(kProtocol));
    runtime::block_on(loop_, members_.stop());
  }
  Result<Add::Response> add(std::size_t from, std::int64_t a) {
    return runtime::block_on(
        loop_, members_[from].caller.call<Add>(members_[0].identity.id(), kProtocol, {a, 2}));
  }

  runtime::VirtualLoop loop_;
  SeededRandom random_{1};
  p2p::simulated::SimulatedNetwork network_{loop_, random_};
  Members members_;
  Service service_;
};

TEST_F(Commands, AreAnsweredWithAValueOrTheHandlersError) {
  EXPECT_EQ(add(1, 40)->sum, 42);
  EXPECT_EQ(add(1, -1).error(), Error(ErrorCode::invalid_argument, "a is negative"));
}

TEST_F(Commands, AreRefusedToCallersWithoutTheRole) {
  EXPECT_EQ(add(2, 1).error().code(), ErrorCode::permission_denied);
  EXPECT_EQ(add(0, 1).error().code(), ErrorCode::permission_denied)
      << "this node's own calls are checked too";
}

TEST_F(Commands, EndAtTheirDeadlineOnBothSides) {
  auto r = runtime::block_on(
      loop_, members_[2].caller.call<Wait>(members_[0].identity.id(), kProtocol, {}, 100ms));
  EXPECT_EQ(r.error().code(), ErrorCode::deadline_exceeded);
  while (service_.waiting > 0 && loop_.run_some()) {
  }
  EXPECT_EQ(service_.waiting, 0);
}

TEST_F(Commands, OfANodeToItselfEndWithTheTaskThatSentThem) {
  runtime::TaskGroup group(loop_);
  group.spawn([](Caller& caller, PeerId to) -> Task<void> {
    (void)co_await caller.call<Wait>(to, kProtocol, {}, 5min);
  }(members_[0].caller, members_[0].identity.id()));
  while (service_.waiting == 0) ASSERT_TRUE(loop_.run_some());
  const auto before = loop_.now();
  runtime::block_on(loop_, group.stop());
  EXPECT_EQ(service_.waiting, 0);
  EXPECT_LT(loop_.now() - before, 1s);
}

TEST_F(Commands, GoToWhoeverHasTheRole) {
  auto r = runtime::block_on(loop_, members_[1].caller.call_any<Add>("test", kProtocol, {1, 2}));
  EXPECT_EQ(r->sum, 3);
  r = runtime::block_on(loop_, members_[1].caller.call_any<Add>("nobody", kProtocol, {1, 2}));
  EXPECT_EQ(r.error().code(), ErrorCode::unavailable);
}

TEST_F(Commands, InProgressAreCancelledWhenTheServiceStops) {
  runtime::TaskGroup group(loop_);
  std::optional<Error> seen;
  group.spawn([](Caller& caller, PeerId to, std::optional<Error>& out) -> Task<void> {
    auto r = co_await caller.call<Wait>(to, kProtocol, {});
    if (!r) out = r.error();
  }(members_[2].caller, members_[0].identity.id(), seen));
  while (service_.waiting == 0) ASSERT_TRUE(loop_.run_some());
  runtime::block_on(loop_, members_[0].router.unserve(kProtocol));
  EXPECT_EQ(service_.waiting, 0);
  runtime::block_on(loop_, group.join());
  EXPECT_EQ(seen->code(), ErrorCode::unavailable);
}

// What a hostile member may send: the answer is an error or the end of the stream, never more.
TEST_F(Commands, HostileFramesGetAnErrorOrAnEnd) {
  auto exchange = [this](Bytes raw) {
    return runtime::block_on(loop_,
                             [](p2p::Host& host, PeerId to, Bytes bytes) -> Task<Result<Bytes>> {
                               CO_TRY(auto stream, host.open(to, std::string(kProtocol)));
                               CO_TRY_STATUS(stream->write(bytes));
                               CO_TRY_STATUS(stream->close_write());
                               co_return co_await read_frame(*stream);
                             }(*members_[1].host, members_[0].identity.id(), std::move(raw)));
  };
  EXPECT_FALSE(exchange({}));
  EXPECT_FALSE(exchange({0xff, 0xff, 0xff, 0xff, 0x7f}));
  EXPECT_FALSE(exchange({0x05, 0x00}));
  Bytes unknown;
  const Bytes body = codec::to_cbor(RequestFrame{"nothing", 1000, codec::Value()});
  codec::put_uvarint(unknown, body.size());
  unknown.insert(unknown.end(), body.begin(), body.end());
  const auto answer = exchange(unknown);
  ASSERT_TRUE(answer);
  EXPECT_EQ(std::move(*codec::from_cbor<ResponseFrame>(*answer)).take().error().code(),
            ErrorCode::unimplemented);
  const auto garbage = exchange({0x02, 0xff, 0xff});
  ASSERT_TRUE(garbage);
  EXPECT_EQ(std::move(*codec::from_cbor<ResponseFrame>(*garbage)).take().error().code(),
            ErrorCode::invalid_argument);
}

Task<void> say(p2p::Host& host, PeerId to, Bytes bytes) {
  auto stream = co_await host.open(std::move(to), std::string(kProtocol));
  if (!stream || !co_await (*stream)->write(bytes)) co_return;
  std::uint8_t byte = 0;
  (void)co_await (*stream)->read({&byte, 1});
}

TEST_F(Commands, WhoSendsBrokenFramesHasToLeaveAndOthersAreAnswered) {
  const PeerId to = members_[0].identity.id();
  p2p::Host& bad = *members_[2].host;
  const auto in = [&] { return members_[0].host->certificate_of(bad.id()) != nullptr; };
  for (int i = 0; i < 9; ++i)
    runtime::block_on(loop_, say(bad, to, {0xff, 0xff, 0xff, 0xff, 0x7f}));
  EXPECT_TRUE(in());
  for (int i = 0; i < 3 && in(); ++i) runtime::block_on(loop_, say(bad, to, {0x02, 0xff, 0xff}));
  EXPECT_FALSE(in());
  EXPECT_EQ(add(1, 40)->sum, 42);
  const auto again = runtime::block_on(loop_, bad.connect(members_[0].host->addresses().at(0)));
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message().find("malformed"), std::string::npos)
      << again.error().to_string();
}

TEST_F(Commands, AboveARateCallsAreRefusedUnreadAndAFloodHasToLeave) {
  const PeerId to = members_[0].identity.id();
  p2p::Host& bad = *members_[2].host;
  const auto in = [&] { return members_[0].host->certificate_of(bad.id()) != nullptr; };
  runtime::TaskGroup group(loop_);
  Bytes frame;
  const Bytes body = codec::to_cbor(RequestFrame{"nothing", 1000, codec::Value()});
  codec::put_uvarint(frame, body.size());
  frame.insert(frame.end(), body.begin(), body.end());
  int sent = 0;
  const auto flood = [&] {
    for (int i = 0; i < 1000; ++i, ++sent) group.spawn(say(bad, to, frame));
    runtime::block_on(loop_, group.join());
  };
  while (in() && sent < 100'000) flood();
  EXPECT_FALSE(in());
  EXPECT_GE(sent, p2p::Conduct::Rates().calls_burst);
  EXPECT_EQ(add(1, 40)->sum, 42);
}

Task<void> wait_for_ever(Caller& caller, PeerId to, std::map<ErrorCode, int>& ends) {
  const auto r = co_await caller.call<Wait>(to, kProtocol, {}, 5s);
  if (!r) ++ends[r.error().code()];
}

TEST_F(Commands, AFloodOfOneMemberLeavesRoomForOthers) {
  runtime::TaskGroup group(loop_);
  std::map<ErrorCode, int> ends;
  for (int i = 0; i < 2000; ++i)
    group.spawn(wait_for_ever(members_[2].caller, members_[0].identity.id(), ends));
  while (service_.waiting < 500) ASSERT_TRUE(loop_.run_some());
  EXPECT_EQ(add(1, 40)->sum, 42);
  runtime::block_on(loop_, group.join());
  EXPECT_EQ(ends[ErrorCode::resource_exhausted], 1500);
  EXPECT_EQ(ends[ErrorCode::deadline_exceeded], 500);
  while (service_.waiting > 0 && loop_.run_some()) {
  }
  EXPECT_EQ(service_.waiting, 0);
}

// Streams that say half of something, and no more.
TEST_F(Commands, HalfOpenStreamsEndByThemselves) {
  std::vector<std::unique_ptr<p2p::Stream>> held;
  const PeerId to = members_[0].identity.id();
  for (int i = 0; i < 300; ++i) {
    auto stream = runtime::block_on(loop_, members_[1].host->open(to, std::string(kProtocol)));
    ASSERT_TRUE(stream) << stream.error().to_string();
    // Nothing; a length and no frame; the largest length, and the beginning of its frame.
    Bytes said;
    if (i % 3 == 1) said = {0x20};
    if (i % 3 == 2) {
      codec::put_uvarint(said, kFrameSizeMax);
      said.resize(said.size() + 1000);
    }
    ASSERT_TRUE(runtime::block_on(loop_, (*stream)->write(said)));
    held.push_back(std::move(*stream));
  }
  EXPECT_EQ(add(1, 40)->sum, 42) << "the same member's honest call";
  EXPECT_EQ(add(1, 41)->sum, 43);
  const TimePoint begun = loop_.now();
  for (auto& stream : held) {
    std::uint8_t byte = 0;
    const auto end = runtime::block_on(loop_, stream->read({&byte, 1}));
    EXPECT_TRUE(!end || *end == 0);
  }
  EXPECT_LE(loop_.now() - begun, 11s);
}

Task<Result<Bytes>> ask_raw(p2p::Host& host, PeerId to, Bytes payload) {
  CO_TRY(auto stream, host.open(to, std::string(kProtocol)));
  CO_TRY_STATUS(write_frame(*stream, std::move(payload)));
  co_return co_await read_frame(*stream);
}

TEST_F(Commands, LargeRequestsOfOneMemberTakeTurns) {
  const PeerId to = members_[0].identity.id();
  std::vector<std::unique_ptr<p2p::Stream>> held;
  for (int i = 0; i < 8; ++i) {
    auto stream = runtime::block_on(loop_, members_[1].host->open(to, std::string(kProtocol)));
    Bytes said;
    codec::put_uvarint(said, kFrameSizeMax);
    said.push_back(0xa0);
    ASSERT_TRUE(runtime::block_on(loop_, (*stream)->write(said)));
    held.push_back(std::move(*stream));
  }
  (void)runtime::block_on(loop_, runtime::sleep_for(5s));
  EXPECT_EQ(add(1, 40)->sum, 42) << "a small one of the same member";
  const Bytes large =
      codec::to_cbor(RequestFrame{"add", 1000, codec::Value(std::string(200'000, 'x'))});
  const TimePoint begun = loop_.now();
  EXPECT_TRUE(runtime::block_on(loop_, ask_raw(*members_[2].host, to, large)));
  EXPECT_LE(loop_.now() - begun, 1s) << "another member's";
  EXPECT_TRUE(runtime::block_on(loop_, ask_raw(*members_[1].host, to, large)));
  EXPECT_GE(loop_.now() - begun, 4s) << "behind those that it did not finish";
  EXPECT_LE(loop_.now() - begun, 6s);
}

}  // namespace
}  // namespace tau::command
