// For tests and benchmarks: a member of a group on real sockets.
#pragma once

#include <memory>

#include "codec/peer_id.h"
#include "consensus/counter.h"
#include "consensus/group.h"
#include "p2p/libp2p/host.h"
#include "p2p/test_network.h"

namespace tau::consensus {

struct LibP2pMember {
  LibP2pMember(runtime::RealLoop& l, p2p::libp2p::Runtime& runtime, p2p::TestNetwork& network,
               store::Kv& kv)
      : loop(l),
        key(network.make_key()),
        host(
            loop, runtime,
            p2p::libp2p::Options{.key = key,
                                 .admission = network.admission(codec::peer_id_of(key.public_key()),
                                                                SystemClock().wall_unix_ms())},
            Logger()),
        groups(loop, host, random, Logger(), {.name = "test", .role = "tns"}),
        store(kv) {}

  Status listen() { return runtime::block_on(loop, host.start()); }
  Status up(std::vector<PeerId> voters) {
    group = std::make_unique<Group>(
        groups, store, Group::Options{.name = "test", .voters = std::move(voters)}, machine);
    TRY_STATUS(groups.start());
    return runtime::block_on(loop, group->start());
  }
  void down() {
    if (group) runtime::block_on(loop, group->stop());
    group.reset();
    runtime::block_on(loop, groups.stop());
    runtime::block_on(loop, host.stop());
  }

  runtime::RealLoop& loop;
  SystemRandom random;
  crypto::KeyPair key;
  p2p::libp2p::LibP2pHost host;
  Groups groups;
  store::Kv& store;
  Counter machine;
  std::unique_ptr<Group> group;
};

}  // namespace tau::consensus
