#include "node/issuing.h"

#include <fmt/format.h>

#include <algorithm>

#include "codec/peer_id.h"

namespace tau::node {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kListFile = "revocations";
constexpr std::string_view kCertificateFile = "node.certificate";

std::int64_t ms(Duration d) { return d / std::chrono::milliseconds(1); }

fs::path certificate_file(const fs::path& network, const std::string& node) {
  std::error_code none;
  if (node.find('/') == node.npos && fs::is_directory(network / node, none))
    return network / node / kCertificateFile;
  return node;
}

// What the root signed for the node, valid or not.
Result<p2p::Certificate> read_certificate(const fs::path& file, const crypto::PublicKey& root) {
  auto raw = read_small_file(file);
  if (!raw)
    return fail(std::move(raw).error().context(
        "a node is named by its folder in the network's folder, or by its certificate's file"));
  const auto item = codec::from_cbor<codec::Signed>(as_bytes(*raw));
  auto named = item ? codec::from_cbor<p2p::Certificate>(item->body)
                    : Result<p2p::Certificate>(fail(Error(item.error())));
  if (!named) return fail(std::move(named).error().context(file.string()));
  const p2p::Admission admission(root, {});
  auto opened = admission.open(named->peer, as_bytes(*raw));
  if (!opened) return fail(std::move(opened).error().context(file.string()));
  return opened;
}

Result<std::shared_ptr<const p2p::Revocations>> read_list(const fs::path& network,
                                                          const crypto::PublicKey& root) {
  const fs::path file = network / kListFile;
  std::error_code none;
  if (!fs::exists(file, none)) return std::shared_ptr<const p2p::Revocations>();
  TRY(const std::string raw, read_small_file(file, p2p::kRevocationBytesMax));
  auto list = p2p::Revocations::open(root, as_bytes(raw));
  if (!list) return fail(std::move(list).error().context(file.string()));
  return list;
}

// The list that follows `before`, without what has ended by itself.
p2p::RevocationList next_list(const crypto::PublicKey& root,
                              const std::shared_ptr<const p2p::Revocations>& before,
                              std::int64_t now_unix_ms) {
  p2p::RevocationList list;
  if (before) list = before->list();
  list.network = root_key_text(root);
  // Above every number before, and also where the file was lost: the clock has gone on.
  list.number = std::max(list.number + 1, static_cast<std::uint64_t>(now_unix_ms));
  list.made_unix_ms = now_unix_ms;
  std::erase_if(list.entries, [&](const p2p::Revocation& entry) {
    return entry.until_unix_ms != 0 && entry.until_unix_ms <= now_unix_ms;
  });
  return list;
}

Result<std::shared_ptr<const p2p::Revocations>> write_list(const fs::path& network,
                                                           const crypto::KeyPair& root,
                                                           const p2p::RevocationList& list) {
  TRY(const Bytes raw, p2p::sign_revocations(root, list));
  TRY_STATUS(replace_file(network / kListFile, raw));
  return p2p::Revocations::open(root.public_key(), raw);
}

// A peer id is one that a key can be read from.
bool is_peer_id(const std::string& text) { return codec::public_key_of(PeerId(text)).has_value(); }

}  // namespace

Result<Renewed> renew_certificate(const Renewal& what, std::int64_t now_unix_ms) {
  if (what.valid_for <= Duration::zero() || what.valid_for > kCertificateValidForMax)
    return fail(ErrorCode::invalid_argument,
                fmt::format("a certificate is valid for up to {} days",
                            kCertificateValidForMax / std::chrono::hours(24)));
  TRY(const auto root, read_key(what.network / "root.key"));
  const fs::path file = certificate_file(what.network, what.node);
  TRY(p2p::Certificate next, read_certificate(file, root.public_key()));
  TRY(const auto list, read_list(what.network, root.public_key()));
  if (const auto* entry = list ? list->whole(next.peer) : nullptr)
    return fail(ErrorCode::permission_denied,
                fmt::format("{} was revoked ({}): `odo network restore` takes that back", what.node,
                            entry->reason));
  if (!what.services.empty()) next.roles = what.services;
  for (const std::string& role : next.roles)
    if (role != "client" && std::ranges::find(service_names(), role) == service_names().end())
      return fail(ErrorCode::invalid_argument, fmt::format("there is no service \"{}\": one of {}",
                                                           role, fmt::join(service_names(), ", ")));
  // Never before the one that it follows, whatever the clock says.
  next.not_before_unix_ms = std::max(now_unix_ms - ms(kClockSkewMax), next.not_before_unix_ms + 1);
  next.not_after_unix_ms = now_unix_ms + ms(what.valid_for);
  next.serial = static_cast<std::uint64_t>(now_unix_ms);
  Renewed out{file, p2p::sign_certificate(root, next), next};
  TRY_STATUS(replace_file(file, out.raw));
  return out;
}

Result<std::shared_ptr<const p2p::Revocations>> revoke(const RevocationOrder& what,
                                                       std::int64_t now_unix_ms) {
  TRY(const auto root, read_key(what.network / "root.key"));
  TRY(const auto before, read_list(what.network, root.public_key()));
  p2p::Revocation entry;
  if (is_peer_id(what.node) && !what.this_certificate) {
    entry.peer = PeerId(what.node);
  } else {
    TRY(const p2p::Certificate certificate,
        read_certificate(certificate_file(what.network, what.node), root.public_key()));
    entry.peer = certificate.peer;
    if (what.this_certificate) {
      if (!certificate.serial)
        return fail(ErrorCode::failed_precondition,
                    what.node +
                        "'s certificate has no serial number (it was made by an earlier "
                        "odo): revoke the node, or renew its certificate first");
      entry.serial = certificate.serial;
    }
  }
  entry.roles = what.roles;
  entry.reason = what.reason;
  entry.since_unix_ms = now_unix_ms;
  // By then everything that was ever signed for the node has ended.
  entry.until_unix_ms = now_unix_ms + ms(kCertificateValidForMax) + ms(kClockSkewMax);
  p2p::RevocationList list = next_list(root.public_key(), before, now_unix_ms);
  std::erase_if(list.entries, [&](const p2p::Revocation& old) {
    return old.peer == entry.peer && old.serial == entry.serial && old.roles == entry.roles;
  });
  list.entries.push_back(std::move(entry));
  return write_list(what.network, root, list);
}

Result<std::shared_ptr<const p2p::Revocations>> restore(const fs::path& network,
                                                        const std::string& node,
                                                        std::int64_t now_unix_ms) {
  TRY(const auto root, read_key(network / "root.key"));
  TRY(const auto before, read_list(network, root.public_key()));
  PeerId peer(node);
  if (!is_peer_id(node)) {
    TRY(const p2p::Certificate certificate,
        read_certificate(certificate_file(network, node), root.public_key()));
    peer = certificate.peer;
  }
  p2p::RevocationList list = next_list(root.public_key(), before, now_unix_ms);
  if (std::erase_if(list.entries, [&](const auto& entry) { return entry.peer == peer; }) == 0)
    return fail(ErrorCode::not_found, "nothing of " + node + " is revoked");
  return write_list(network, root, list);
}

Result<std::shared_ptr<const p2p::Revocations>> read_revocations(const fs::path& network) {
  TRY(const Options options, read_config(network / "network.yaml"));
  TRY(const auto root, parse_root_key(options.network_root_key));
  return read_list(network, root);
}

}  // namespace tau::node
