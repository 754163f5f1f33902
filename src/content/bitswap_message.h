// The messages of /ipfs/bitswap/1.2.0 (specs.ipfs.tech/bitswap-protocol): protobuf, each after its
// length as an unsigned varint.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/time.h"
#include "codec/cid.h"
#include "p2p/host.h"
#include "store/block_store.h"

namespace tau::content {

inline constexpr std::string_view kBitswapProtocol = "/ipfs/bitswap/1.2.0";
inline constexpr std::size_t kBitswapMessageMax = 4u << 20;  // the specification's
// Stock nodes keep 1024 wants of a peer; more in one message is an attempt to make us search.
inline constexpr std::size_t kWantsPerMessageMax = 4096;

struct WantEntry {
  enum class Type : std::uint8_t { block = 0, have = 1 };
  codec::Cid cid;
  Type type = Type::block;
  bool cancel = false;
  bool send_dont_have = false;
  friend bool operator==(const WantEntry&, const WantEntry&) = default;
};

struct BitswapMessage {
  struct Presence {
    Bytes cid;  // as bytes: it may be one that our Cid does not know
    bool have = false;
    friend bool operator==(const Presence&, const Presence&) = default;
  };
  std::vector<WantEntry> wants;
  bool full = false;  // the wants replace all earlier ones
  std::vector<store::Block> blocks;
  std::vector<Presence> presences;
  // Wants for CIDs of hash functions that no block here has, whose sender asked for a "don't have".
  std::vector<Bytes> unknown_wants;

  bool empty() const { return wants.empty() && !full && blocks.empty() && presences.empty(); }
};

Bytes encode_bitswap(const BitswapMessage& message);
// The CID of each block is computed from its data, so a block cannot lie about its name. Errors:
// invalid_argument.
Result<BitswapMessage> decode_bitswap(BytesView bytes);

Task<Status> write_bitswap(p2p::Stream& stream, BitswapMessage message);
// The bytes of the next message; nothing at the end of the stream. Waits for its first byte without
// limit, for the rest `body_limit`. Errors: invalid_argument (too long), unavailable,
// deadline_exceeded.
Task<Result<std::optional<Bytes>>> read_bitswap(p2p::Stream& stream, Duration body_limit);

}  // namespace tau::content
