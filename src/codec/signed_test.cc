#include "codec/signed.h"

#include <gtest/gtest.h>

namespace tau::codec {
namespace {

struct Note {
  static constexpr std::string_view kPurpose = "tau test note v1";
  std::string text;
  static constexpr auto fields() { return std::tuple{field("text", &Note::text)}; }
};
struct OtherNote : Note {
  static constexpr std::string_view kPurpose = "tau test other note v1";
};

TEST(SignedRecord, OpensForItsSignerAndPurposeOnly) {
  SeededRandom random(7);
  const auto key = crypto::KeyPair::generate(random), other = crypto::KeyPair::generate(random);
  const Signed record = sign_record(key, Note{"hi"});
  EXPECT_EQ(open_record<Note>(key.public_key(), record)->text, "hi");
  EXPECT_FALSE(open_record<Note>(other.public_key(), record));
  EXPECT_FALSE(check_signature(key.public_key(), OtherNote::kPurpose, record));
  Signed changed = record;
  changed.body.back() ^= 1;
  EXPECT_FALSE(open_record<Note>(key.public_key(), changed));
}

}  // namespace
}  // namespace tau::codec
