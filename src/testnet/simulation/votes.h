// Listens to the voters of consensus: when one grants a vote, its term and that it has voted must
// be on its disk, or a crash would let it vote twice. Every contradiction goes into the ledger.
//
// The world and the ledger outlive what it installs in the world's network. Loop thread only.
#pragma once

#include "testnet/simulation/ledger.h"
#include "testnet/simulation/world.h"

namespace tau::testnet::simulation {

void watch_votes(World& world, Ledger& ledger);

}  // namespace tau::testnet::simulation
