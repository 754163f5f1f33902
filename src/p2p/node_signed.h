// A record signed by a node, with the certificate that says what the node may sign: anybody who
// knows the network's root key can check it, without asking anyone. The links of the chain of trust
// (job, receipt, pointer) have this form.
#pragma once

#include <memory>
#include <mutex>
#include <string_view>
#include <tuple>

#include "codec/peer_id.h"
#include "codec/signed.h"
#include "p2p/certificate.h"

namespace tau::p2p {

struct NodeSigned {
  codec::Signed record;
  Bytes certificate;
  friend bool operator==(const NodeSigned&, const NodeSigned&) = default;
  static constexpr auto fields() {
    return std::tuple{codec::field("record", &NodeSigned::record),
                      codec::field("certificate", &NodeSigned::certificate)};
  }
};

template <class T>
struct Opened {
  T record;
  Certificate signer;
};

// A node's key with its certificate. Copies share the certificate, so that all of a node signs with
// the renewed one at once. Thread-safe.
class NodeIdentity {
 public:
  NodeIdentity(crypto::KeyPair key, Bytes certificate)
      : key_(std::move(key)),
        id_(codec::peer_id_of(key_.public_key())),
        shown_(std::make_shared<Shown>()) {
    shown_->certificate = std::move(certificate);
  }

  const PeerId& id() const { return id_; }
  const crypto::KeyPair& key() const { return key_; }
  Bytes certificate() const {
    const std::lock_guard lock(shown_->mutex);
    return shown_->certificate;
  }
  void renew(Bytes certificate) {
    const std::lock_guard lock(shown_->mutex);
    shown_->certificate = std::move(certificate);
  }

  template <class T>
  NodeSigned sign(const T& record) const {
    return {codec::sign_record(key_, record), certificate()};
  }

 private:
  crypto::KeyPair key_;
  PeerId id_;
  struct Shown {
    std::mutex mutex;
    Bytes certificate;
  };
  std::shared_ptr<Shown> shown_;
};

// Checks certificate (of this network, valid now, with `role`), then signature, then decodes. The
// peer id is the certificate's. Errors: permission_denied, invalid_argument.
template <class T>
Result<Opened<T>> open_node_signed(const Admission& admission, std::string_view role,
                                   const NodeSigned& item, std::int64_t now_unix_ms) {
  TRY(Certificate certificate, admission.check_any(item.certificate, now_unix_ms));
  if (!certificate.has_role(role))
    return fail(ErrorCode::permission_denied, "node " + certificate.peer.str() + " signed a \"" +
                                                  std::string(T::kPurpose) +
                                                  "\" without the role " + std::string(role));
  TRY(const auto key, codec::public_key_of(certificate.peer));
  TRY(T record, codec::open_record<T>(key, item.record));
  return Opened<T>{std::move(record), std::move(certificate)};
}

}  // namespace tau::p2p
