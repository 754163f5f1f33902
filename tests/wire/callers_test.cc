// Every command of every service, asked by a member of each role: who is not named gets
// permission_denied, and the handler never runs.
#include <gtest/gtest.h>

#include "command/members.h"
#include "p2p/simulated/network.h"
#include "services/auth/api.h"
#include "services/hoarder/api.h"
#include "services/patrick/api.h"
#include "services/seer/api.h"
#include "services/substrate/api.h"
#include "services/tns/api.h"
#include "services/tns/shard_api.h"

namespace tau {
namespace {

const std::vector<std::string> kRoles = {"tns",    "auth", "hoarder",   "patrick",
                                         "monkey", "seer", "substrate", "client"};

template <class C>
struct Handler {
  Task<Result<typename C::Response>> handle(command::Peer, typename C::Request) {
    ++calls;
    co_return fail(ErrorCode::aborted, "it ran");
  }
  int calls = 0;
};

class Callers : public testing::Test {
 protected:
  Callers()
      : members_(loop_, random_, [this](const crypto::KeyPair& key, p2p::Admission admission) {
          return std::make_unique<p2p::simulated::SimulatedHost>(
              network_, codec::peer_id_of(key.public_key()), std::move(admission), Logger());
        }) {
    members_.add({"tns"});
    for (const std::string& role : kRoles) members_.add({role});
    EXPECT_TRUE(runtime::block_on(loop_, members_.start()));
  }
  ~Callers() override { runtime::block_on(loop_, members_.stop()); }

  template <class C>
  void ask(std::string_view protocol) {
    Handler<C> handler;
    command::Member& server = members_[0];
    server.router.serve(protocol, handler, command::List<C>{});
    for (std::size_t i = 0; i < kRoles.size(); ++i) {
      const auto answer = runtime::block_on(
          loop_, members_[i + 1].caller.call<C>(server.identity.id(), protocol, {}, C::kDeadline));
      const auto& named = C::kCallers.roles;
      const bool allowed = named[0].empty() || std::ranges::find(named, kRoles[i]) != named.end();
      const std::string what = std::string(C::kName) + " of " + kRoles[i];
      ASSERT_FALSE(answer) << what;
      EXPECT_EQ(answer.error().code() == ErrorCode::permission_denied, !allowed)
          << what << ": " << answer.error().to_string();
      EXPECT_LE(handler.calls, allowed ? 1 : 0) << what;
      refused_ += !allowed;
      handler.calls = 0;
    }
    runtime::block_on(loop_, server.router.unserve(protocol));
  }
  template <class... C>
  void ask_all(std::string_view protocol, command::List<C...>) {
    (ask<C>(protocol), ...);
  }

  runtime::VirtualLoop loop_;
  SeededRandom random_{1};
  p2p::simulated::SimulatedNetwork network_{loop_, random_};
  command::Members members_;
  int refused_ = 0;
};

TEST_F(Callers, AreTheRolesThatTheCommandNames) {
  ask_all(auth::kProtocol, auth::Commands{});
  ask_all(tns::kProtocol, tns::Commands{});
  ask_all(tns::kShardsProtocol, tns::ShardCommands{});
  ask_all(patrick::kProtocol, patrick::Commands{});
  ask_all(hoarder::kProtocol, hoarder::Commands{});
  ask_all(seer::kProtocol, seer::Commands{});
  ask_all(substrate::kProtocol, substrate::Commands{});
  EXPECT_GT(refused_, 40) << "commands that change something name their callers";
}

}  // namespace
}  // namespace tau
