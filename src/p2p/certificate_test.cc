#include "p2p/certificate.h"

#include <gtest/gtest.h>

#include "codec/signed.h"
#include "p2p/test_network.h"

namespace tau::p2p {
namespace {

constexpr std::int64_t kNow = 1'700'000'000'000;

class CertificateTest : public ::testing::Test {
 protected:
  TestNetwork network_;
  PeerId node_ = codec::peer_id_of(network_.make_key().public_key());
  Admission admission_{network_.root.public_key(), {}};

  std::string why(const PeerId& remote, BytesView certificate, std::int64_t now = kNow) {
    const auto r = admission_.check(remote, certificate, now);
    if (r) return "";
    EXPECT_EQ(r.error().code(), ErrorCode::permission_denied);
    return r.error().message();
  }
};

TEST_F(CertificateTest, SaysWhatItsHolderMayBe) {
  const Bytes bytes = sign_certificate(network_.root, network_.certificate(node_, kNow, "rack 1"));
  const auto c = admission_.check(node_, bytes, kNow);
  ASSERT_TRUE(c) << c.error().to_string();
  EXPECT_TRUE(c->has_role("tns"));
  EXPECT_FALSE(c->has_role("monkey"));
  EXPECT_EQ(c->host, "rack 1");
  EXPECT_LE(bytes.size(), 512u);
}

TEST_F(CertificateTest, IsRefusedWhenAnyByteChanges) {
  const Bytes good = sign_certificate(network_.root, network_.certificate(node_, kNow));
  for (std::size_t i = 0; i < good.size(); ++i) {
    Bytes bad = good;
    bad[i] ^= 0x01;
    EXPECT_NE(why(node_, bad), "") << "byte " << i;
  }
  for (std::size_t n = 0; n < good.size(); ++n)
    EXPECT_NE(why(node_, BytesView(good).first(n)), "") << n << " bytes";
}

TEST_F(CertificateTest, IsValidFromItsFirstToBeforeItsLastMillisecond) {
  const Certificate c = network_.certificate(node_, kNow);
  const Bytes bytes = sign_certificate(network_.root, c);
  EXPECT_EQ(why(node_, bytes, c.not_before_unix_ms), "");
  EXPECT_EQ(why(node_, bytes, c.not_after_unix_ms - 1), "");
  EXPECT_NE(why(node_, bytes, c.not_before_unix_ms - 1), "");
  EXPECT_NE(why(node_, bytes, c.not_after_unix_ms), "");
}

TEST_F(CertificateTest, IsBoundInSize) {
  Certificate c = network_.certificate(node_, kNow);
  c.region = std::string(kCertificateSizeMax, 'x');
  EXPECT_NE(why(node_, sign_certificate(network_.root, c)).find("longer than"), std::string::npos);
}

TEST_F(CertificateTest, ASignatureForAnotherPurposeIsNone) {
  const Bytes body = codec::to_cbor(network_.certificate(node_, kNow));
  const Bytes other = codec::to_cbor(codec::sign_bytes(network_.root, "tau job v1", body));
  EXPECT_NE(why(node_, other).find("not signed by"), std::string::npos);
}

}  // namespace
}  // namespace tau::p2p
