#include "crypto/ed25519.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <memory>

#include "base/check.h"

namespace tau::crypto {
namespace {

struct FreeKey {
  void operator()(EVP_PKEY* k) const { EVP_PKEY_free(k); }
};
struct FreeContext {
  void operator()(EVP_MD_CTX* c) const { EVP_MD_CTX_free(c); }
};
using Key = std::unique_ptr<EVP_PKEY, FreeKey>;
using Context = std::unique_ptr<EVP_MD_CTX, FreeContext>;

}  // namespace

Sha256 sha256(BytesView data) {
  Sha256 out;
  SHA256(data.data(), data.size(), out.data());
  return out;
}

Result<PublicKey> PublicKey::from_raw(BytesView raw) {
  if (raw.size() != 32)
    return fail(ErrorCode::invalid_argument,
                "an Ed25519 public key has 32 bytes, not " + std::to_string(raw.size()));
  PublicKey key;
  std::ranges::copy(raw, key.raw_.begin());
  return key;
}

bool PublicKey::verify(BytesView message, BytesView signature) const {
  if (signature.size() != 64) return false;
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw_.data(), raw_.size()));
  const Context context(EVP_MD_CTX_new());
  if (!key || !context) return false;
  if (EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1) return false;
  return EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(),
                          message.size()) == 1;
}

KeyPair KeyPair::generate(Random& random) {
  std::array<std::uint8_t, 32> seed;
  random.fill(seed);
  auto pair = from_seed(seed);
  CHECK(pair);
  return *std::move(pair);
}

Result<KeyPair> KeyPair::from_seed(BytesView seed) {
  if (seed.size() != 32)
    return fail(ErrorCode::invalid_argument,
                "an Ed25519 secret key has 32 bytes, not " + std::to_string(seed.size()));
  const Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
  CHECK(key);
  std::array<std::uint8_t, 32> pub;
  std::size_t n = pub.size();
  CHECK(EVP_PKEY_get_raw_public_key(key.get(), pub.data(), &n) == 1 && n == pub.size());
  std::array<std::uint8_t, 32> secret;
  std::ranges::copy(seed, secret.begin());
  return KeyPair(secret, PublicKey(pub));
}

Signature KeyPair::sign(BytesView message) const {
  const Key key(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed_.data(), seed_.size()));
  const Context context(EVP_MD_CTX_new());
  CHECK(key && context);
  CHECK(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1);
  Signature out;
  std::size_t n = out.size();
  CHECK(EVP_DigestSign(context.get(), out.data(), &n, message.data(), message.size()) == 1);
  return out;
}

}  // namespace tau::crypto
