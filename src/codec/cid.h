// Content identifiers (multiformats/cid), versions 0 and 1, with sha2-256. Other hashes are refused
// by name.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace tau::codec {

enum class ContentType : std::uint64_t {  // multicodec table
  raw = 0x55,
  dag_pb = 0x70,
  dag_cbor = 0x71,
  libp2p_key = 0x72,
  dag_json = 0x0129,
};

class Cid {
 public:
  Cid() = default;                                  // of nothing; valid() is false
  static Cid of(ContentType type, BytesView data);  // version 1, hashes `data`

  // Text: "Qm…" (version 0) or "b…" / "z…" (version 1). Errors: invalid_argument.
  static Result<Cid> parse(std::string_view text);
  static Result<Cid> from_bytes(BytesView bytes);  // exactly one CID
  static Result<Cid> take_from(BytesView& bytes);  // from the front

  bool valid() const { return version_ <= 1; }
  int version() const { return version_; }
  ContentType type() const { return type_; }
  const std::array<std::uint8_t, 32>& digest() const { return digest_; }
  Bytes multihash() const;  // 0x12 0x20 digest
  Bytes to_bytes() const;
  std::string to_string() const;       // version 0: base58btc; version 1: base32
  bool matches(BytesView data) const;  // hashes `data`

  friend auto operator<=>(const Cid&, const Cid&) = default;

 private:
  std::uint8_t version_ = 255;
  ContentType type_ = ContentType::raw;
  std::array<std::uint8_t, 32> digest_{};
};

}  // namespace tau::codec

template <>
struct std::hash<tau::codec::Cid> {
  std::size_t operator()(const tau::codec::Cid& cid) const noexcept;
};
