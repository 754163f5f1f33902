// A record with a signature over it: Ed25519 over "<purpose>\0" + the record's DAG-CBOR. The
// purpose keeps a signature for one kind of record from being shown as one for another.
#pragma once

#include <string_view>
#include <tuple>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/record.h"
#include "crypto/ed25519.h"

namespace tau::codec {

struct Signed {
  Bytes body;
  Bytes signature;
  friend bool operator==(const Signed&, const Signed&) = default;
  static constexpr auto fields() {
    return std::tuple{field("body", &Signed::body), field("signature", &Signed::signature)};
  }
};

Signed sign_bytes(const crypto::KeyPair& key, std::string_view purpose, Bytes body);
// Errors: permission_denied when the signature is not `signer`'s.
Status check_signature(const crypto::PublicKey& signer, std::string_view purpose,
                       const Signed& record);

template <class T>
Signed sign_record(const crypto::KeyPair& key, const T& record) {
  return sign_bytes(key, T::kPurpose, to_cbor(record));
}
// Checks the signature, then decodes.
template <class T>
Result<T> open_record(const crypto::PublicKey& signer, const Signed& record) {
  TRY_STATUS(check_signature(signer, T::kPurpose, record));
  return from_cbor<T>(record.body);
}

}  // namespace tau::codec
