#include "p2p/revocation.h"

#include <algorithm>
#include <utility>

#include "codec/multibase.h"
#include "codec/signed.h"
#include "p2p/certificate.h"

namespace tau::p2p {
namespace {

constexpr std::string_view kPurpose = "tau revocations v1";

Status check_bounds(const RevocationList& list) {
  if (list.entries.size() > kRevocationsMax)
    return fail(ErrorCode::invalid_argument, "a list of revocations has at most " +
                                                 std::to_string(kRevocationsMax) + " entries");
  for (const Revocation& entry : list.entries)
    if (entry.peer.empty() || entry.reason.size() > kReasonBytesMax ||
        entry.roles.size() > kRevokedRolesMax)
      return fail(ErrorCode::invalid_argument, "a revocation names a peer, at most " +
                                                   std::to_string(kRevokedRolesMax) +
                                                   " roles, and a reason of at most " +
                                                   std::to_string(kReasonBytesMax) + " bytes");
  return {};
}

}  // namespace

Result<Bytes> sign_revocations(const crypto::KeyPair& root, const RevocationList& list) {
  TRY_STATUS(check_bounds(list));
  Bytes raw = codec::to_cbor(codec::sign_bytes(root, kPurpose, codec::to_cbor(list)));
  if (raw.size() > kRevocationBytesMax)
    return fail(ErrorCode::invalid_argument, "a list of revocations has at most " +
                                                 std::to_string(kRevocationBytesMax) + " bytes");
  return raw;
}

Revocations::Revocations(RevocationList list, Bytes raw)
    : list_(std::move(list)), raw_(std::move(raw)) {
  for (std::size_t i = 0; i < list_.entries.size(); ++i) by_peer_.emplace(list_.entries[i].peer, i);
}

Result<std::shared_ptr<const Revocations>> Revocations::open(const crypto::PublicKey& root,
                                                             BytesView raw) {
  if (raw.size() > kRevocationBytesMax)
    return fail(ErrorCode::invalid_argument,
                "revocations: longer than " + std::to_string(kRevocationBytesMax) + " bytes");
  const auto record = codec::from_cbor<codec::Signed>(raw);
  if (!record) return fail(Error(record.error()).context("revocations"));
  const std::string network = codec::base32_encode(root.raw());
  if (!codec::check_signature(root, kPurpose, *record))
    return fail(ErrorCode::permission_denied,
                "revocations: not signed by the root of network " + network);
  auto list = codec::from_cbor<RevocationList>(record->body);
  if (!list) return fail(std::move(list).error().context("revocations"));
  if (list->network != network)
    return fail(ErrorCode::permission_denied, "revocations: for another network");
  TRY_STATUS(check_bounds(*list));
  return std::shared_ptr<const Revocations>(new Revocations(std::move(*list), to_bytes(raw)));
}

bool Revocations::replaces(const Revocations& other) const {
  return std::tie(list_.number, list_.made_unix_ms, raw_) >
         std::tie(other.list_.number, other.list_.made_unix_ms, other.raw_);
}

const Revocation* Revocations::strike(Certificate& certificate) const {
  const auto [first, last] = by_peer_.equal_range(certificate.peer);
  for (auto it = first; it != last; ++it) {
    const Revocation& entry = list_.entries[it->second];
    if (entry.serial && entry.serial != certificate.serial) continue;
    if (entry.roles.empty()) return &entry;
    std::erase_if(certificate.roles, [&](const std::string& role) {
      return std::ranges::find(entry.roles, role) != entry.roles.end();
    });
  }
  return nullptr;
}

const Revocation* Revocations::whole(const PeerId& peer) const {
  const auto [first, last] = by_peer_.equal_range(peer);
  for (auto it = first; it != last; ++it) {
    const Revocation& entry = list_.entries[it->second];
    if (!entry.serial && entry.roles.empty()) return &entry;
  }
  return nullptr;
}

}  // namespace tau::p2p
