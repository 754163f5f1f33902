#include "p2p/certificate.h"

#include <algorithm>
#include <utility>

#include "codec/multibase.h"
#include "codec/signed.h"

namespace tau::p2p {
namespace {
constexpr std::string_view kPurpose = "tau certificate v1";
}  // namespace

bool Certificate::has_role(std::string_view role) const {
  return std::find(roles.begin(), roles.end(), role) != roles.end();
}

Bytes sign_certificate(const crypto::KeyPair& root, const Certificate& certificate) {
  return codec::to_cbor(codec::sign_bytes(root, kPurpose, codec::to_cbor(certificate)));
}

Admission::Admission(crypto::PublicKey root, Bytes own_certificate)
    : root_(root),
      network_(codec::base32_encode(root.raw())),
      own_certificate_(std::move(own_certificate)) {}

Result<Certificate> Admission::check(const PeerId& remote, BytesView certificate,
                                     std::int64_t now_unix_ms) const {
  auto found = check_any(certificate, now_unix_ms);
  if (found && found->peer == remote) return found;
  const std::string why =
      found ? "belongs to " + found->peer.str().substr(0, 64) : found.error().message();
  return fail(ErrorCode::permission_denied, "certificate of " + remote.str() + ": " + why);
}

Result<Certificate> Admission::check_any(BytesView certificate, std::int64_t now_unix_ms) const {
  const auto refuse = [](std::string why) {
    return fail(ErrorCode::permission_denied, std::move(why));
  };
  if (certificate.size() > kCertificateSizeMax)
    return refuse("longer than " + std::to_string(kCertificateSizeMax) + " bytes");
  const auto record = codec::from_cbor<codec::Signed>(certificate);
  if (!record) return refuse(record.error().message());
  if (auto s = codec::check_signature(root_, kPurpose, *record); !s)
    return refuse("not signed by the root of network " + network_);
  auto body = codec::from_cbor<Certificate>(record->body);
  if (!body) return refuse(body.error().message());
  if (body->network != network_) return refuse("is for another network");
  if (now_unix_ms < body->not_before_unix_ms) return refuse("is not valid yet: check the clocks");
  if (now_unix_ms >= body->not_after_unix_ms) return refuse("has expired");
  return std::move(*body);
}

}  // namespace tau::p2p
