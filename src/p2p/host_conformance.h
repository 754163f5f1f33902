// What every implementation of p2p::Host promises, as one suite. A world makes hosts of one
// network:
//
//   struct MyWorld {
//     Loop& loop();
//     Host& add_host(std::string_view certificate_host = "");   // started; the name ends up in its
//     certificate
//     TestNetwork& keys();                        // whose members they are
//     Admission admission_of(const PeerId& id);   // of a host that was added
//   };
//   INSTANTIATE_TYPED_TEST_SUITE_P(Mine, HostConformance, MyWorld);
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "p2p/host.h"
#include "p2p/test_network.h"
#include "runtime/loop.h"
#include "runtime/one_shot.h"
#include "runtime/task_group.h"

namespace tau::p2p {

using namespace std::chrono_literals;

inline constexpr Duration kPatience = 20s;  // far more than anything here takes; a hang fails

inline Task<Result<int>> poll_until(std::function<bool()> condition) {
  while (!condition()) CO_TRY_STATUS(runtime::sleep_for(2ms));
  co_return 0;
}
inline Task<Status> until(std::function<bool()> condition, std::string what) {
  CO_TRY_STATUS(
      runtime::with_deadline(kPatience, std::move(what), poll_until(std::move(condition))));
  co_return Status{};
}

template <class World>
class HostConformance : public ::testing::Test {
 protected:
  World world_;

  template <class T>
  T run(Task<T> task) {
    return runtime::block_on(world_.loop(), std::move(task));
  }
  ::testing::AssertionResult eventually(std::function<bool()> condition, std::string what) {
    const auto s = run(until(std::move(condition), std::move(what)));
    if (s) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << s.error().to_string();
  }
  static bool knows(const Host& host, const PeerId& peer) {
    const auto peers = host.peers();
    return std::find(peers.begin(), peers.end(), peer) != peers.end();
  }
  // Two hosts, connected, each aware of the other.
  std::pair<Host*, Host*> pair() {
    Host& a = world_.add_host("alpha");
    Host& b = world_.add_host("beta");
    const auto peer = run(a.connect(b.addresses().at(0)));
    EXPECT_TRUE(peer) << peer.error().to_string();
    EXPECT_TRUE(eventually([&] { return knows(b, a.id()); }, "b sees a"));
    return {&a, &b};
  }
};
TYPED_TEST_SUITE_P(HostConformance);

namespace conformance {

inline Bytes pattern(std::size_t size) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(i * 31 + i / 251);
  return out;
}

inline Task<Result<Bytes>> read_to_end(Stream& stream) {
  Bytes all, chunk(64 * 1024);
  while (true) {
    CO_TRY(const std::size_t n, stream.read(chunk));
    if (n == 0) co_return all;
    all.insert(all.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(n));
  }
}

inline Task<void> echo(std::unique_ptr<Stream> stream) {
  Bytes chunk(64 * 1024);
  while (true) {
    const auto n = co_await stream->read(chunk);
    if (!n) co_return;
    if (*n == 0) break;
    if (!co_await stream->write(BytesView(chunk).first(*n))) co_return;
  }
  (void)co_await stream->close_write();
}

inline Task<void> send_all(Stream& stream, const Bytes& data, Status& result) {
  result = co_await stream.write(data);
  if (result) result = co_await stream.close_write();
}

// Writes and reads at once, as an echo of more than the window needs.
inline Task<Result<Bytes>> exchange(Host& host, PeerId peer, std::string protocol, Bytes data) {
  CO_TRY(const auto stream, host.open(peer, protocol));
  runtime::TaskGroup writer((co_await runtime::current_scope()).loop());
  Status written;
  writer.spawn(send_all(*stream, data, written));
  auto answer = co_await read_to_end(*stream);
  co_await writer.stop();
  if (!written) co_return fail(std::move(written).error());
  co_return answer;
}

}  // namespace conformance

TYPED_TEST_P(HostConformance, ConnectsAndBothEndsKnowWhoTheOtherIs) {
  auto [a, b] = this->pair();
  EXPECT_TRUE(this->knows(*a, b->id()));
  ASSERT_TRUE(a->certificate_of(b->id()));
  ASSERT_TRUE(b->certificate_of(a->id()));
  EXPECT_EQ(a->certificate_of(b->id())->host, "beta");
  EXPECT_EQ(b->certificate_of(a->id())->host, "alpha");
  EXPECT_EQ(b->certificate_of(a->id())->peer, a->id());
  EXPECT_EQ(a->certificate_of(a->id())->host, "alpha");
  EXPECT_FALSE(a->certificate_of(PeerId("12D3KooWNobody")));
}

TYPED_TEST_P(HostConformance, ConnectingAgainIsSuccess) {
  auto [a, b] = this->pair();
  EXPECT_EQ(this->run(a->connect(b->addresses().at(0))).value(), b->id());
}

TYPED_TEST_P(HostConformance, SaysWhatIsWrongWithAnAddress) {
  Host& a = this->world_.add_host();
  EXPECT_EQ(this->run(a.connect("somewhere")).error().code(), ErrorCode::invalid_argument);
  Host& gone = this->world_.add_host();
  const std::string address = gone.addresses().at(0);
  this->run(gone.stop());
  EXPECT_EQ(this->run(a.connect(address)).error().code(), ErrorCode::unavailable);
}

TYPED_TEST_P(HostConformance, EchoesAMegabyte) {
  auto [a, b] = this->pair();
  b->handle("/echo/1", conformance::echo);
  const Bytes data = conformance::pattern(1 << 20);
  const auto back = this->run(conformance::exchange(*a, b->id(), "/echo/1", data));
  ASSERT_TRUE(back) << back.error().to_string();
  EXPECT_TRUE(*back == data);
}

TYPED_TEST_P(HostConformance, AHalfClosedStreamStillCarriesTheAnswer) {
  auto [a, b] = this->pair();
  b->handle("/count/1", [](std::unique_ptr<Stream> s) -> Task<void> {
    const auto all = co_await conformance::read_to_end(*s);
    if (!all) co_return;
    const Bytes answer = to_bytes(std::to_string(all->size()));
    if (co_await s->write(answer)) (void)co_await s->close_write();
  });
  const auto answer =
      this->run(conformance::exchange(*a, b->id(), "/count/1", conformance::pattern(1000)));
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(to_text(*answer), "1000");
}

TYPED_TEST_P(HostConformance, AResetEndsTheStreamAtBothEnds) {
  auto [a, b] = this->pair();
  Bytes heard;
  Status answered = fail(ErrorCode::unknown, "unfinished");
  bool ended = false;
  b->handle("/wait/1", [&](std::unique_ptr<Stream> s) -> Task<void> {
    Bytes chunk(10);
    while (true) {
      const auto n = co_await s->read(chunk);
      if (!n || *n == 0) break;
      heard.insert(heard.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(*n));
    }
    // Its answer finds nobody: at the latest when the window is full.
    answered = co_await s->write(conformance::pattern(4 << 20));
    ended = true;
  });
  auto stream = this->run(a->open(b->id(), "/wait/1"));
  ASSERT_TRUE(stream) << stream.error().to_string();
  const Bytes hello = to_bytes("hello");
  ASSERT_TRUE(this->run((*stream)->write(hello)));
  ASSERT_TRUE(this->eventually([&] { return heard.size() == 5; }, "b hears hello"));
  (*stream)->reset();
  Bytes chunk(10);
  EXPECT_EQ(this->run((*stream)->read(chunk)).error().code(), ErrorCode::unavailable);
  EXPECT_EQ(this->run((*stream)->write(hello)).error().code(), ErrorCode::unavailable);
  ASSERT_TRUE(this->eventually([&] { return ended; }, "b notices the reset"));
  ASSERT_FALSE(answered);
  EXPECT_EQ(answered.error().code(), ErrorCode::unavailable);
}

TYPED_TEST_P(HostConformance, AStreamThatIsDestroyedEndsAtTheOtherEnd) {
  auto [a, b] = this->pair();
  b->handle("/drop/1", [](std::unique_ptr<Stream> s) -> Task<void> {
    s.reset();
    co_return;
  });
  auto stream = this->run(a->open(b->id(), "/drop/1"));
  if (!stream) {
    EXPECT_EQ(stream.error().code(), ErrorCode::unavailable);  // as early as that
    return;
  }
  Bytes chunk(10);
  const auto n = this->run((*stream)->read(chunk));
  EXPECT_TRUE(!n || *n == 0);
  const auto written = this->run((*stream)->write(conformance::pattern(4 << 20)));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code(), ErrorCode::unavailable);
}

TYPED_TEST_P(HostConformance, AnUnknownProtocolIsUnimplemented) {
  auto [a, b] = this->pair();
  EXPECT_EQ(this->run(a->open(b->id(), "/nobody/1")).error().code(), ErrorCode::unimplemented);
  b->handle("/nobody/1", conformance::echo);
  EXPECT_TRUE(this->run(a->open(b->id(), "/nobody/1")));
  b->handle("/nobody/1", nullptr);
  EXPECT_EQ(this->run(a->open(b->id(), "/nobody/1")).error().code(), ErrorCode::unimplemented);
  EXPECT_EQ(this->run(a->open(PeerId("12D3KooWNobody"), "/x")).error().code(),
            ErrorCode::unavailable);
}

TYPED_TEST_P(HostConformance, CarriesManyStreamsAtOnce) {
  auto [a, b] = this->pair();
  b->handle("/echo/1", conformance::echo);
  constexpr int kStreams = 300;
  int right = 0;
  runtime::TaskGroup group(this->world_.loop());
  for (int i = 0; i < kStreams; ++i)
    group.spawn([](Host& from, PeerId to, int n, int& good) -> Task<void> {
      const Bytes data = conformance::pattern(static_cast<std::size_t>(1000 + n));
      const auto back = co_await conformance::exchange(from, to, "/echo/1", data);
      EXPECT_TRUE(back) << back.error().to_string();
      if (back && *back == data) ++good;
    }(*a, b->id(), i, right));
  EXPECT_TRUE(this->eventually([&] { return group.running() == 0; }, "300 echoes"));
  this->run(group.stop());
  EXPECT_EQ(right, kStreams);
}

TYPED_TEST_P(HostConformance, AWriterIsHeldWhileItsReaderSleeps) {
  auto [a, b] = this->pair();
  std::unique_ptr<Stream> held;
  b->handle("/slow/1", [&](std::unique_ptr<Stream> s) -> Task<void> {
    held = std::move(s);
    co_return;
  });
  auto stream = this->run(a->open(b->id(), "/slow/1"));
  ASSERT_TRUE(stream) << stream.error().to_string();
  ASSERT_TRUE(this->eventually([&] { return held != nullptr; }, "b has the stream"));
  const Bytes data = conformance::pattern(32 << 20);
  runtime::TaskGroup writer(this->world_.loop());
  Status written = fail(ErrorCode::unknown, "unfinished");
  writer.spawn(conformance::send_all(**stream, data, written));
  // Nothing to wait for but its absence: the writer must not finish.
  this->run(until([&, ends = this->world_.loop().now() +
                             200ms] { return this->world_.loop().now() >= ends; },
                  "a while"))
      .value();
  EXPECT_EQ(writer.running(), 1u) << "32 MiB vanished into a stream that nobody reads";
  const auto all = this->run(conformance::read_to_end(*held));
  ASSERT_TRUE(all) << all.error().to_string();
  EXPECT_TRUE(*all == data);
  this->run(writer.join());
  EXPECT_TRUE(written);
  held.reset();
}

TYPED_TEST_P(HostConformance, GossipReachesSubscribersOtherThanItsSender) {
  auto [a, b] = this->pair();
  struct Heard {
    std::vector<std::string> at_a, at_b;
    PeerId sender;
  };
  // Shared with the handlers, which live as long as the hosts.
  const auto heard = std::make_shared<Heard>();
  a->subscribe("news", [heard](const PeerId&, BytesView m) { heard->at_a.push_back(to_text(m)); });
  b->subscribe("news", [heard](const PeerId& from, BytesView m) {
    heard->sender = from;
    heard->at_b.push_back(to_text(m));
  });
  // Subscriptions travel, too: what is said before they arrive is not heard.
  int said = 0;
  Host* from = a;
  ASSERT_TRUE(this->eventually(
      [&] {
        EXPECT_TRUE(from->publish("news", to_bytes("item " + std::to_string(said++))));
        return !heard->at_b.empty();
      },
      "b hears the news"));
  EXPECT_EQ(heard->sender, a->id());
  EXPECT_TRUE(heard->at_a.empty());
  EXPECT_EQ(a->publish("news", Bytes(64 * 1024 + 1)).error().code(), ErrorCode::invalid_argument);
  ASSERT_TRUE(a->publish("news", Bytes(64 * 1024)));
  ASSERT_TRUE(this->eventually([&] { return heard->at_b.back().size() == 64 * 1024; },
                               "the largest message"));
}

TYPED_TEST_P(HostConformance, FindsTheProvidersOfAKey) {
  Host& a = this->world_.add_host();
  Host& b = this->world_.add_host();
  Host& c = this->world_.add_host();
  ASSERT_TRUE(this->run(a.connect(b.addresses().at(0))));
  ASSERT_TRUE(this->run(c.connect(b.addresses().at(0))));
  const Bytes key = to_bytes("a multihash of some content");
  // Records go to the neighbours that are known by then; providing again is what a node does
  // anyway.
  Host* from = &a;
  Host* at = &c;
  std::vector<PeerId> found;
  for (int i = 0; i < 100 && found.empty(); ++i) {
    ASSERT_TRUE(this->run(from->provide(key)));
    const auto r = this->run(at->find_providers(key, 5));
    ASSERT_TRUE(r) << r.error().to_string();
    found = *r;
    if (found.empty()) (void)this->run(runtime::sleep_for(20ms));
  }
  EXPECT_EQ(found, std::vector<PeerId>{a.id()});
  const auto none = this->run(at->find_providers(to_bytes("something else"), 5));
  ASSERT_TRUE(none) << none.error().to_string();
  EXPECT_TRUE(none->empty());
}

TYPED_TEST_P(HostConformance, ReachesAPeerThatOnlyOthersAreConnectedTo) {
  auto [a, b] = this->pair();
  Host& c = this->world_.add_host("gamma");
  ASSERT_TRUE(this->run(c.connect(b->addresses().at(0))));
  EXPECT_EQ(this->run(a->reach(c.id())).error().code(), ErrorCode::unavailable)
      << "nobody has said that others can be reached";
  EXPECT_FALSE(a->reachable(c.id()));
  a->reach_by([](const PeerId&) { return std::vector<std::string>(); });
  EXPECT_TRUE(a->reachable(c.id()));
  // Until identify has told who listens where.
  for (int i = 0; i < 400 && !this->knows(*a, c.id()); ++i) {
    (void)this->run(a->reach(c.id()));
    (void)this->run(runtime::sleep_for(50ms));
  }
  ASSERT_TRUE(this->knows(*a, c.id()));
  const auto found = this->run(a->find_peer(c.id()));
  ASSERT_TRUE(found) << found.error().to_string();
  ASSERT_FALSE(found->empty());
  EXPECT_TRUE(found->at(0).ends_with("/p2p/" + c.id().str())) << found->at(0);
  EXPECT_EQ(this->run(a->connect(found->at(0))).value(), c.id());
  const auto nobody =
      this->run(a->find_peer(codec::peer_id_of(this->world_.keys().make_key().public_key())));
  ASSERT_TRUE(nobody) << nobody.error().to_string();
  EXPECT_TRUE(nobody->empty());
  EXPECT_TRUE(a->peers().size() == 2);
}

TYPED_TEST_P(HostConformance, TellsOfPeersComingAndGoingAndLetsThemComeBack) {
  auto [a, b] = this->pair();
  const auto history = std::make_shared<std::vector<std::pair<PeerId, bool>>>();
  const auto& seen = *history;
  b->on_peer(
      [history](const PeerId& peer, bool connected) { history->emplace_back(peer, connected); });
  auto stream = [&] {
    b->handle("/echo/1", conformance::echo);
    return this->run(a->open(b->id(), "/echo/1"));
  }();
  ASSERT_TRUE(stream) << stream.error().to_string();
  a->disconnect(b->id());
  ASSERT_TRUE(this->eventually([&] { return seen.size() == 1; }, "b hears that a has gone"));
  EXPECT_EQ(seen[0], std::pair(a->id(), false));
  EXPECT_FALSE(b->certificate_of(a->id()));
  Bytes chunk(10);
  const auto after = this->run((*stream)->read(chunk));
  EXPECT_TRUE(!after || *after == 0) << "a stream of a lost connection";
  const auto again = this->run(a->connect(b->addresses().at(0)));
  ASSERT_TRUE(again) << again.error().to_string();
  ASSERT_TRUE(this->eventually([&] { return seen.size() == 2; }, "b hears that a is back"));
  EXPECT_EQ(seen[1], std::pair(a->id(), true));
  const auto back =
      this->run(conformance::exchange(*a, b->id(), "/echo/1", conformance::pattern(100)));
  EXPECT_TRUE(back) << back.error().to_string();
}

TYPED_TEST_P(HostConformance, ReconnectsAtOnceAfterItsOwnDisconnect) {
  auto [a, b] = this->pair();
  b->handle("/echo/1", conformance::echo);
  a->disconnect(b->id());
  const auto again = this->run(a->connect(b->addresses().at(0)));
  ASSERT_TRUE(again) << again.error().to_string();
  const auto back =
      this->run(conformance::exchange(*a, b->id(), "/echo/1", conformance::pattern(100)));
  EXPECT_TRUE(back) << back.error().to_string();
}

TYPED_TEST_P(HostConformance, ARenewedCertificateCountsWithoutANewConnection) {
  auto [a, b] = this->pair();
  const auto lost = std::make_shared<int>(0);
  b->on_peer([lost](const PeerId&, bool) { ++*lost; });
  const TestNetwork& keys = this->world_.keys();
  const std::int64_t now = this->world_.loop().wall_unix_ms();
  Certificate next = keys.certificate(a->id(), now, "gamma");
  next.not_before_unix_ms += 1;
  const Bytes renewed = sign_certificate(keys.root, next);
  EXPECT_EQ(b->show_certificate(renewed).error().code(), ErrorCode::permission_denied);
  ASSERT_TRUE(a->show_certificate(renewed));
  EXPECT_EQ(a->certificate_of(a->id())->host, "gamma");
  ASSERT_TRUE(b->note_certificate(a->id(), renewed));
  EXPECT_EQ(b->certificate_of(a->id())->host, "gamma");
  // The one before, again: nothing changes.
  ASSERT_TRUE(b->note_certificate(
      a->id(), sign_certificate(keys.root, keys.certificate(a->id(), now - 1, "alpha"))));
  EXPECT_EQ(b->certificate_of(a->id())->host, "gamma");
  EXPECT_EQ(
      b->note_certificate(a->id(), sign_certificate(keys.root, keys.certificate(b->id(), now)))
          .error()
          .code(),
      ErrorCode::permission_denied);
  EXPECT_EQ(*lost, 0) << "a healthy connection was dropped";
  // And it is what a new connection shows.
  a->disconnect(b->id());
  Host *left = a, *right = b;
  ASSERT_TRUE(this->eventually([&] { return !this->knows(*right, left->id()); }, "b notices"));
  ASSERT_TRUE(this->run(a->connect(b->addresses().at(0))));
  ASSERT_TRUE(this->eventually([&] { return this->knows(*right, left->id()); }, "b sees a again"));
  EXPECT_EQ(b->certificate_of(a->id())->host, "gamma");
}

TYPED_TEST_P(HostConformance, ARevokedPeerIsGoneAtOnceAndStaysOut) {
  auto [a, b] = this->pair();
  b->handle("/echo/1", conformance::echo);
  auto stream = this->run(a->open(b->id(), "/echo/1"));
  ASSERT_TRUE(stream) << stream.error().to_string();
  Admission admission = this->world_.admission_of(b->id());
  ASSERT_TRUE(admission.adopt(
      this->world_.keys().revocations(1, {{.peer = a->id(), .reason = "its disk was stolen"}})));
  b->recheck();
  EXPECT_FALSE(b->certificate_of(a->id()));
  EXPECT_TRUE(b->peers().empty());
  Host *out = a, *in = b;
  ASSERT_TRUE(this->eventually([&] { return out->peers().empty(); }, "a is told to go"));
  Bytes chunk(10);
  const auto n = this->run((*stream)->read(chunk));
  EXPECT_TRUE(!n || *n == 0) << "a stream of a peer that was revoked";
  for (auto [from, to] : {std::pair(out, in), std::pair(in, out)}) {
    const auto again = this->run(from->connect(to->addresses().at(0)));
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code(), ErrorCode::permission_denied) << again.error().to_string();
    EXPECT_NE(again.error().message().find("was revoked: its disk was stolen"), std::string::npos)
        << again.error().to_string();
  }
}

TYPED_TEST_P(HostConformance, ARevokedRoleIsGoneAndTheConnectionStays) {
  auto [a, b] = this->pair();
  ASSERT_TRUE(b->certificate_of(a->id())->has_role("tns"));
  Admission admission = this->world_.admission_of(b->id());
  const TestNetwork& keys = this->world_.keys();
  ASSERT_TRUE(admission.adopt(keys.revocations(1, {{.peer = a->id(), .roles = {"tns"}}})));
  b->recheck();
  ASSERT_TRUE(b->certificate_of(a->id()));
  EXPECT_FALSE(b->certificate_of(a->id())->has_role("tns"));
  EXPECT_TRUE(b->certificate_of(a->id())->has_role("substrate"));
  // Given back by a later list; an earlier one changes nothing.
  ASSERT_TRUE(admission.adopt(keys.revocations(2, {})));
  EXPECT_FALSE(admission.adopt(keys.revocations(1, {{.peer = a->id()}})));
  b->recheck();
  ASSERT_TRUE(b->certificate_of(a->id()));
  EXPECT_TRUE(b->certificate_of(a->id())->has_role("tns"));
}

TYPED_TEST_P(HostConformance, WhatARevokedPeerSaysIsNotHeardFromOthersEither) {
  auto [a, b] = this->pair();
  Host& c = this->world_.add_host("gamma");
  ASSERT_TRUE(this->run(c.connect(b->addresses().at(0))));
  this->world_.admission_of(c.id()).adopt(this->world_.keys().revocations(1, {{.peer = a->id()}}));
  const auto at_b = std::make_shared<int>(0), at_c = std::make_shared<int>(0);
  const auto authors = std::make_shared<std::vector<PeerId>>();
  a->subscribe("news", [](const PeerId&, BytesView) {});
  b->subscribe("news", [at_b](const PeerId&, BytesView) { ++*at_b; });
  c.subscribe("news", [at_c, authors](const PeerId& author, BytesView) {
    ++*at_c;
    authors->push_back(author);
  });
  Host *revoked = a, *relay = b;
  int said = 0;
  ASSERT_TRUE(this->eventually(
      [&] {
        const std::string item = std::to_string(said++);
        EXPECT_TRUE(revoked->publish("news", to_bytes("from a " + item)));
        EXPECT_TRUE(relay->publish("news", to_bytes("from b " + item)));
        return *at_b > 3 && *at_c > 3;
      },
      "b hears a, and c hears b"));
  for (const PeerId& author : *authors) EXPECT_EQ(author, b->id());
}

TYPED_TEST_P(HostConformance, WhoMisbehavesIsDisconnectedAndLetInAgainLater) {
  auto [a, b] = this->pair();
  Host *bad = a, *good = b;
  b->conduct().blame(a->id(), Misdeed::forgery, "an answer");
  EXPECT_EQ(b->peers().size(), 1u);
  EXPECT_GT(b->conduct().score(a->id()), Conduct::kSlowAt);
  b->conduct().blame(a->id(), Misdeed::forgery, "an answer");
  ASSERT_TRUE(this->eventually([&] { return bad->peers().empty() && good->peers().empty(); },
                               "the connection is closed"));
  for (auto [from, to] : {std::pair(bad, good), std::pair(good, bad)}) {
    const auto again = this->run(from->connect(to->addresses().at(0)));
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code(), ErrorCode::permission_denied) << again.error().to_string();
    EXPECT_NE(again.error().message().find("it forges: an answer; try again in"), std::string::npos)
        << again.error().to_string();
  }
  const auto entries = b->conduct().entries();
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_GT(entries[0].out_until_unix_ms, 0);
  EXPECT_TRUE(a->conduct().entries().empty()) << "who was accused accuses nobody";
}

TYPED_TEST_P(HostConformance, AFloodOfGossipIsNotGivenToTheServices) {
  auto [a, b] = this->pair();
  const auto heard = std::make_shared<int>(0);
  b->subscribe("news", [heard](const PeerId&, BytesView) { ++*heard; });
  a->subscribe("news", [](const PeerId&, BytesView) {});
  Host *flooding = a, *other = b;
  int said = 0;
  ASSERT_TRUE(this->eventually(
      [&] {
        for (int i = 0; i < 200; ++i)
          (void)flooding->publish("news", to_bytes("item " + std::to_string(said++)));
        return other->peers().empty();
      },
      "it has to leave"));
  EXPECT_LT(*heard, 2 * Conduct::Rates().messages_burst);
  EXPECT_GT(said, 2 * Conduct::Rates().messages_burst);
}

TYPED_TEST_P(HostConformance, StopEndsHandlersAndPeersAndMayBeRepeated) {
  auto [a, b] = this->pair();
  const auto began = std::make_shared<bool>(false), ended = std::make_shared<bool>(false);
  b->handle("/wait/1", [began, ended](std::unique_ptr<Stream> s) -> Task<void> {
    *began = true;
    Bytes chunk(10);
    EXPECT_FALSE(co_await s->read(chunk));
    *ended = true;
  });
  const std::string address = b->addresses().at(0);
  auto stream = this->run(a->open(b->id(), "/wait/1"));
  ASSERT_TRUE(stream) << stream.error().to_string();
  ASSERT_TRUE(this->eventually([&] { return *began; }, "the handler runs"));
  this->run(b->stop());
  EXPECT_TRUE(*ended);
  EXPECT_TRUE(b->peers().empty());
  this->run(b->stop());
  EXPECT_EQ(this->run(b->open(a->id(), "/x")).error().code(), ErrorCode::unavailable);
  Host* left = a;
  const PeerId gone = b->id();
  ASSERT_TRUE(this->eventually([&] { return !this->knows(*left, gone); }, "a notices"));
  EXPECT_EQ(this->run(a->connect(address)).error().code(), ErrorCode::unavailable);
}

REGISTER_TYPED_TEST_SUITE_P(
    HostConformance, ConnectsAndBothEndsKnowWhoTheOtherIs, ConnectingAgainIsSuccess,
    SaysWhatIsWrongWithAnAddress, EchoesAMegabyte, AHalfClosedStreamStillCarriesTheAnswer,
    AResetEndsTheStreamAtBothEnds, AStreamThatIsDestroyedEndsAtTheOtherEnd,
    AnUnknownProtocolIsUnimplemented, CarriesManyStreamsAtOnce, AWriterIsHeldWhileItsReaderSleeps,
    GossipReachesSubscribersOtherThanItsSender, FindsTheProvidersOfAKey,
    ReachesAPeerThatOnlyOthersAreConnectedTo, TellsOfPeersComingAndGoingAndLetsThemComeBack,
    ReconnectsAtOnceAfterItsOwnDisconnect, ARenewedCertificateCountsWithoutANewConnection,
    ARevokedPeerIsGoneAtOnceAndStaysOut, ARevokedRoleIsGoneAndTheConnectionStays,
    WhatARevokedPeerSaysIsNotHeardFromOthersEither, WhoMisbehavesIsDisconnectedAndLetInAgainLater,
    AFloodOfGossipIsNotGivenToTheServices, StopEndsHandlersAndPeersAndMayBeRepeated);

}  // namespace tau::p2p
