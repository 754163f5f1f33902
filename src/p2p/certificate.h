// A node's certificate: what its network lets it be. Signed by the network's root key; bound to the
// node's peer id; it expires, and can be revoked. Shown on every connection before anything else is
// said (native/swarm/src/admission.rs), and every command names the roles that may call it
// (command/router.h).
//
// Wire form: DAG-CBOR map {"body": bytes, "signature": bytes}, where body is the DAG-CBOR of
// Certificate and the signature is Ed25519 over "tau certificate v1\0" + body.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/strong_id.h"
#include "codec/record.h"
#include "crypto/ed25519.h"
#include "p2p/revocation.h"

namespace tau::p2p {

struct Certificate {
  std::string network;  // base32 text of the root public key: the network's name for machines
  PeerId peer;
  std::vector<std::string>
      roles;  // "auth", "tns", "patrick", "monkey", "hoarder", "seer", "substrate", "client"
  std::string host, operated_by, region;  // failure domains, for placing replicas; may be empty
  std::int64_t not_before_unix_ms = 0;
  std::int64_t not_after_unix_ms = 0;
  std::optional<std::uint64_t> serial;  // tells a node's certificates apart, for revoking one

  static constexpr auto fields() {
    return std::tuple{codec::field("network", &Certificate::network),
                      codec::field("peer", &Certificate::peer),
                      codec::field("roles", &Certificate::roles),
                      codec::field("host", &Certificate::host),
                      codec::field("operator", &Certificate::operated_by),
                      codec::field("region", &Certificate::region),
                      codec::field("not_before", &Certificate::not_before_unix_ms),
                      codec::field("not_after", &Certificate::not_after_unix_ms),
                      codec::field("serial", &Certificate::serial)};
  }
  bool has_role(std::string_view role) const;
};

inline constexpr std::size_t kCertificateSizeMax = 4096;  // a few hundred bytes in practice

Bytes sign_certificate(const crypto::KeyPair& root, const Certificate& certificate);

// Who may join, now: the root's public key, what it has revoked, and who is shut out for a while.
// Copies share one state, so that a renewed certificate and a revocation count everywhere in a node
// at once. Thread-safe.
class Admission {
 public:
  Admission(crypto::PublicKey root, Bytes own_certificate);

  Bytes own_certificate() const;
  const crypto::PublicKey& root() const { return root_; }
  const std::string& network() const { return network_; }

  // Checks what `remote` showed. Errors: permission_denied, with the reason.
  Result<Certificate> check(const PeerId& remote, BytesView certificate,
                            std::int64_t now_unix_ms) const;

  // The same for a certificate that came with a record instead of a connection: of whichever peer
  // it names.
  Result<Certificate> check_any(BytesView certificate, std::int64_t now_unix_ms) const;

  // The two steps of check(). What the root signed for `remote`, valid or not:
  Result<Certificate> open(const PeerId& remote, BytesView certificate) const;
  // what is left of it now, without the roles that were revoked since. Errors: permission_denied.
  Result<Certificate> judge(Certificate opened, std::int64_t now_unix_ms) const;

  // Why `remote` is not let in, and whether it may hear that: only who once was a member may.
  struct Refusal {
    std::string why;
    bool was_member = false;
  };
  std::optional<Refusal> refusal(const PeerId& remote, BytesView certificate,
                                 std::int64_t now_unix_ms) const;

  // This node shows `certificate` from now on; the caller has checked it.
  void renew(Bytes certificate);

  std::shared_ptr<const Revocations> revocations() const;  // null: none yet
  // Whether they count from now on: false if the ones that do are as new.
  bool adopt(std::shared_ptr<const Revocations> revocations);
  // Nothing that this peer says counts any more, whoever passes it on.
  bool revoked(const PeerId& peer) const;

  // Lets `peer` in again after `until_unix_ms` only. What it signed still counts.
  void shut_out(const PeerId& peer, std::int64_t until_unix_ms, std::string why);

 private:
  struct ShutOut {
    std::int64_t until_unix_ms = 0;
    std::string why;
  };
  struct State {
    std::mutex mutex;
    Bytes own_certificate;
    std::shared_ptr<const Revocations> revocations;
    std::map<PeerId, ShutOut> shut_out;
  };
  Result<Certificate> open_any(BytesView certificate) const;
  std::optional<std::string> shut_out_because(const PeerId& peer, std::int64_t now_unix_ms) const;

  crypto::PublicKey root_;
  std::string network_;
  std::shared_ptr<State> state_;
};

}  // namespace tau::p2p
