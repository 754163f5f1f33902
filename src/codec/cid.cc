#include "codec/cid.h"

#include <algorithm>
#include <cstring>

#include "codec/multibase.h"
#include "codec/varint.h"
#include "crypto/ed25519.h"

namespace tau::codec {
namespace {

constexpr std::uint64_t kSha2_256 = 0x12;

Result<ContentType> known_type(std::uint64_t code) {
  switch (static_cast<ContentType>(code)) {
    case ContentType::raw:
    case ContentType::dag_pb:
    case ContentType::dag_cbor:
    case ContentType::libp2p_key:
    case ContentType::dag_json:
      return static_cast<ContentType>(code);
  }
  return fail(ErrorCode::invalid_argument,
              "CID has content type " + std::to_string(code) +
                  "; known are raw, dag-pb, dag-cbor, dag-json and libp2p-key");
}

}  // namespace

Cid Cid::of(ContentType type, BytesView data) {
  Cid cid;
  cid.version_ = 1;
  cid.type_ = type;
  cid.digest_ = crypto::sha256(data);
  return cid;
}

Result<Cid> Cid::take_from(BytesView& bytes) {
  BytesView in = bytes;
  Cid cid;
  if (in.size() >= 2 && in[0] == kSha2_256 && in[1] == 32) {
    cid.version_ = 0;
    cid.type_ = ContentType::dag_pb;
  } else {
    TRY(const auto version, take_uvarint(in));
    if (version != 1)
      return fail(ErrorCode::invalid_argument, "CID has version " + std::to_string(version));
    TRY(const auto code, take_uvarint(in));
    TRY(cid.type_, known_type(code));
    cid.version_ = 1;
  }
  TRY(const auto hash, take_uvarint(in));
  if (hash != kSha2_256)
    return fail(ErrorCode::invalid_argument,
                "CID uses hash function " + std::to_string(hash) + "; only sha2-256 (18) is known");
  TRY(const auto length, take_uvarint(in));
  if (length != cid.digest_.size() || in.size() < length)
    return fail(ErrorCode::invalid_argument, "CID digest does not have 32 bytes");
  std::copy_n(in.begin(), length, cid.digest_.begin());
  bytes = in.subspan(length);
  return cid;
}

Result<Cid> Cid::from_bytes(BytesView bytes) {
  TRY(Cid cid, take_from(bytes));
  if (!bytes.empty()) return fail(ErrorCode::invalid_argument, "bytes follow the CID");
  return cid;
}

Result<Cid> Cid::parse(std::string_view text) {
  if (text.size() == 46 && text.starts_with("Qm")) {
    TRY(const Bytes raw, base58btc_decode(text));
    return from_bytes(raw);
  }
  Result<Bytes> raw = fail(ErrorCode::invalid_argument, "\"" + std::string(text.substr(0, 80)) +
                                                            "\" is not a CID (Qm…, b… or z…)");
  if (text.starts_with('b')) raw = base32_decode(text.substr(1));
  if (text.starts_with('z')) raw = base58btc_decode(text.substr(1));
  if (!raw) return fail(std::move(raw).error());
  TRY(Cid cid, from_bytes(*raw));
  if (cid.version_ == 0)
    return fail(ErrorCode::invalid_argument, "a CID of version 0 has no multibase prefix");
  return cid;
}

Bytes Cid::multihash() const {
  Bytes out = {kSha2_256, 32};
  out.insert(out.end(), digest_.begin(), digest_.end());
  return out;
}

Bytes Cid::to_bytes() const {
  Bytes out;
  if (version_ == 1) {
    put_uvarint(out, 1);
    put_uvarint(out, static_cast<std::uint64_t>(type_));
  }
  const Bytes hash = multihash();
  out.insert(out.end(), hash.begin(), hash.end());
  return out;
}

std::string Cid::to_string() const {
  if (!valid()) return "(no CID)";
  return version_ == 0 ? base58btc_encode(to_bytes()) : "b" + base32_encode(to_bytes());
}

bool Cid::matches(BytesView data) const { return valid() && digest_ == crypto::sha256(data); }

}  // namespace tau::codec

std::size_t std::hash<tau::codec::Cid>::operator()(const tau::codec::Cid& cid) const noexcept {
  std::size_t h;  // the digest is uniform already
  std::memcpy(&h, cid.digest().data(), sizeof h);
  return h;
}
