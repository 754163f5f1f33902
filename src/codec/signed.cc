#include "codec/signed.h"

namespace tau::codec {
namespace {

Bytes message_of(std::string_view purpose, BytesView body) {
  Bytes message = to_bytes(purpose);
  message.push_back(0);
  message.insert(message.end(), body.begin(), body.end());
  return message;
}

}  // namespace

Signed sign_bytes(const crypto::KeyPair& key, std::string_view purpose, Bytes body) {
  const auto signature = key.sign(message_of(purpose, body));
  return {std::move(body), Bytes(signature.begin(), signature.end())};
}

Status check_signature(const crypto::PublicKey& signer, std::string_view purpose,
                       const Signed& record) {
  if (!signer.verify(message_of(purpose, record.body), record.signature))
    return fail(ErrorCode::permission_denied,
                "the signature of this \"" + std::string(purpose) + "\" is not its signer's");
  return {};
}

}  // namespace tau::codec
