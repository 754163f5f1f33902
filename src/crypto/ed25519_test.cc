#include "crypto/ed25519.h"

#include <gtest/gtest.h>

#include "base/hex.h"

namespace tau::crypto {
namespace {

// RFC 8032 section 7.1, test 2.
TEST(Ed25519, AgreesWithTheVectorsOfRfc8032) {
  auto key = KeyPair::from_seed(
      *from_hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"));
  ASSERT_TRUE(key);
  EXPECT_EQ(to_hex(key->public_key().raw()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  const Bytes message = {0x72};
  const auto signature = key->sign(message);
  EXPECT_EQ(to_hex(signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
  EXPECT_TRUE(key->public_key().verify(message, signature));
  auto wrong = signature;
  wrong[0] ^= 1;
  EXPECT_FALSE(key->public_key().verify(message, wrong));
  EXPECT_FALSE(key->public_key().verify(message, BytesView(signature).first(63)));
}

TEST(Sha256, AgreesWithFips180) {
  EXPECT_EQ(to_hex(sha256(as_bytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace tau::crypto
