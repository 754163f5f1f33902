// Internal to p2p/simulated: who is who, and how many bytes a message has on a real connection.
//
// Bytes are those that a host hands to TCP: a message's protobuf with its length, the yamux frame
// and the noise frame around it. Protobuf sizes follow the specifications of gossipsub v1.1/v1.2
// and kad-dht; src/p2p/libp2p/counts.cc holds them against real hosts.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"

namespace tau::p2p::simulated {

// Of a host, for as long as the network lives: shorter to compare than a peer id.
using Number = std::uint32_t;
using Topic = std::uint32_t;

enum class Kind : std::uint8_t { connecting, identify, ping, gossip, kademlia, streams };
inline constexpr std::size_t kKinds = 6;
inline constexpr std::array<std::string_view, kKinds> kKindNames = {
    "connecting", "identify", "ping", "gossip", "kademlia", "streams"};

struct Traffic {
  std::uint64_t messages = 0, bytes = 0;
  void add(std::size_t size, std::uint64_t count = 1) {
    messages += count;
    bytes += size;
  }
  friend bool operator==(const Traffic&, const Traffic&) = default;
};
using Counts = std::array<Traffic, kKinds>;

// A yamux header is 12 bytes; noise adds a length of 2 and a tag of 16.
inline constexpr std::size_t kFrameBytes = 12 + 2 + 16;
// A peer id of an Ed25519 key, and its base58 text.
inline constexpr std::size_t kPeerIdBytes = 38, kPeerIdTextBytes = 52;
// "/ip4/…/tcp/…", as bytes; and behind it the peer id, as it was dialed.
inline constexpr std::size_t kAddressBytes = 8,
                             kDialedAddressBytes = kAddressBytes + 3 + kPeerIdBytes;

// Of multistream-select: "/multistream/1.0.0\n" and the protocol's name, each with its length. Who
// opens sends them in one message, who accepts in two.
constexpr std::size_t opening_bytes(std::size_t name) { return 20 + name + 2 + kFrameBytes; }
constexpr std::size_t kAcceptMessages = 2;
constexpr std::size_t accepting_bytes(std::size_t name) { return 20 + name + 2 + 2 * kFrameBytes; }
// Each side ends a stream by an empty frame.
inline constexpr std::size_t kStreamEndBytes = kFrameBytes;

constexpr std::size_t varint_bytes(std::size_t value) {
  std::size_t n = 1;
  for (; value > 127; value >>= 7) ++n;
  return n;
}
// A protobuf field of bytes whose number is below 16.
constexpr std::size_t field_bytes(std::size_t size) { return 1 + varint_bytes(size) + size; }
// A message behind its length, framed.
constexpr std::size_t framed_bytes(std::size_t size) {
  return varint_bytes(size) + size + kFrameBytes;
}

// SHA-256 of a peer id or of a provided key: a place in Kademlia's space. The first is the highest.
using Place = std::array<std::uint64_t, 4>;
Place place_of(BytesView name);
constexpr Place distance(const Place& a, const Place& b) {
  return {a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2], a[3] ^ b[3]};
}

}  // namespace tau::p2p::simulated
