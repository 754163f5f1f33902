// Ed25519 (RFC 8032) and SHA-256 (FIPS 180-4), by OpenSSL.
#pragma once

#include <array>
#include <compare>

#include "base/bytes.h"
#include "base/error.h"
#include "base/random.h"

namespace tau::crypto {

using Signature = std::array<std::uint8_t, 64>;
using Sha256 = std::array<std::uint8_t, 32>;

Sha256 sha256(BytesView data);

class PublicKey {
 public:
  PublicKey() = default;
  explicit PublicKey(const std::array<std::uint8_t, 32>& raw) : raw_(raw) {}
  static Result<PublicKey> from_raw(BytesView raw);  // 32 bytes

  const std::array<std::uint8_t, 32>& raw() const { return raw_; }
  // False for a wrong signature, and for keys and signatures that are not on the curve.
  bool verify(BytesView message, BytesView signature) const;

  friend auto operator<=>(const PublicKey&, const PublicKey&) = default;

 private:
  std::array<std::uint8_t, 32> raw_{};
};

class KeyPair {
 public:
  static KeyPair generate(Random& random);
  static Result<KeyPair> from_seed(BytesView seed);  // the 32 secret bytes of RFC 8032

  const PublicKey& public_key() const { return public_; }
  const std::array<std::uint8_t, 32>& seed() const { return seed_; }
  Signature sign(BytesView message) const;

 private:
  KeyPair(const std::array<std::uint8_t, 32>& seed, PublicKey pub) : seed_(seed), public_(pub) {}
  std::array<std::uint8_t, 32> seed_;
  PublicKey public_;
};

}  // namespace tau::crypto
