#include "services/seer/status.h"

#include <arpa/inet.h>

#include <algorithm>

#include "net/network.h"
#include "services/seer/addresses.h"

namespace tau::seer {
namespace {

constexpr std::size_t kServicesMax = 16;
constexpr std::size_t kMultiaddrSizeMax = 255;  // one string of a TXT record

Status check_multiaddr(const PeerId& peer, const std::string& multiaddr) {
  const bool plain = std::ranges::all_of(multiaddr, [](char c) { return c > ' ' && c < 0x7f; });
  if (multiaddr.size() <= kMultiaddrSizeMax && plain && multiaddr.starts_with('/') &&
      multiaddr.ends_with("/p2p/" + peer.str()))
    return {};
  return fail(ErrorCode::invalid_argument, "a node announces multiaddrs that end with its own id");
}

Result<StatusPtr> check(const p2p::Admission& admission, const p2p::NodeSigned& item, Bytes raw,
                        std::int64_t now_unix_ms) {
  CheckedStatus out;
  out.raw = std::move(raw);
  TRY(const auto record, codec::from_cbor<codec::Signed>(item.certificate));
  TRY(const auto claimed, codec::from_cbor<p2p::Certificate>(record.body));
  TRY(out.signer, admission.open(claimed.peer, item.certificate));
  TRY(const auto key, codec::public_key_of(out.signer.peer));
  TRY(out.status, codec::open_record<NodeStatus>(key, item.record));
  if (out.status.number == 0)
    return fail(ErrorCode::invalid_argument, "a node numbers its statuses from 1");
  TRY_STATUS(judge(admission, out, now_unix_ms));
  return std::make_shared<const CheckedStatus>(std::move(out));
}

}  // namespace

Status check_announcement(const PeerId& peer, const p2p::Certificate& certificate,
                          const Announcement& announcement) {
  if (announcement.services.size() > kServicesMax ||
      announcement.addresses.size() > kAddressesMax ||
      announcement.multiaddrs.size() > kMultiaddrsMax)
    return fail(ErrorCode::invalid_argument,
                "an announcement names at most 16 services, 8 addresses and 16 multiaddrs");
  for (const auto& service : announcement.services)
    if (!certificate.has_role(service))
      return fail(ErrorCode::permission_denied, "the certificate of " + peer.str() +
                                                    " does not give it the role \"" +
                                                    service.substr(0, 64) + "\"");
  if (announcement.dns && !net::Endpoint::parse(*announcement.dns))
    return fail(ErrorCode::invalid_argument, "the DNS endpoint is not ADDRESS:PORT");
  for (const auto& address : announcement.addresses)
    if (!is_reachable(address))
      return fail(ErrorCode::invalid_argument,
                  "\"" + address.substr(0, 64) + "\" is not an IP address that others can reach");
  for (const auto& multiaddr : announcement.multiaddrs)
    TRY_STATUS(check_multiaddr(peer, multiaddr));
  return {};
}

Result<StatusPtr> check_status(const p2p::Admission& admission, const p2p::NodeSigned& item,
                               std::int64_t now_unix_ms) {
  Bytes raw = codec::to_cbor(item);
  if (raw.size() > kStatusBytesMax)
    return fail(ErrorCode::invalid_argument,
                "a signed status has at most " + std::to_string(kStatusBytesMax) + " bytes");
  return check(admission, item, std::move(raw), now_unix_ms);
}

Result<StatusPtr> check_passed_on(const p2p::Admission& admission, BytesView raw,
                                  std::int64_t now_unix_ms) {
  if (raw.size() > kStatusBytesMax)
    return fail(ErrorCode::invalid_argument,
                "a signed status has at most " + std::to_string(kStatusBytesMax) + " bytes");
  TRY(const auto item, codec::from_cbor<p2p::NodeSigned>(raw));
  return check(admission, item, to_bytes(raw), now_unix_ms);
}

Status judge(const p2p::Admission& admission, const CheckedStatus& status,
             std::int64_t now_unix_ms) {
  TRY(const auto left, admission.judge(status.signer, now_unix_ms));
  return check_announcement(status.peer(), left, status.status.what);
}

bool is_recent(const CheckedStatus& status, std::int64_t now_unix_ms) {
  constexpr std::int64_t kFor = kStatusFor / std::chrono::milliseconds(1);
  const std::int64_t made = status.status.made_unix_ms;
  return made > now_unix_ms - kFor && made < now_unix_ms + kFor;
}

}  // namespace tau::seer
