#include "services/substrate/api.h"

#include <gtest/gtest.h>

namespace tau::substrate {
namespace {

// The wire form is a promise. These bytes come from an encoder of RFC 8949's deterministic form
// that is not ours.
TEST(SubstrateApi, BytesOnTheWireStayAsTheyAre) {
  EXPECT_EQ(to_hex(codec::to_cbor(ReadLogs::Request{ProjectId("p"), 7, 200, 30'000})),
            "a4647761697419753065616674657207656c696d697418c86770726f6a6563746170");
  EXPECT_EQ(
      to_hex(codec::to_cbor(
          ReadLogs::Response{{{1, 1'700'000'000'000, "ping", "ab-1", "stdout", "hi"}}})),
      "a1656c696e657381a66261741b0000018bcfe568006474657874626869666e756d626572016673747265616d"
      "667374646f757467726571756573746461622d316866756e6374696f6e6470696e67");
  EXPECT_EQ(to_hex(codec::to_cbor(ReadTrace::Request{"h", "/ping", ""})),
            "a364686f737461686470617468652f70696e67666d6574686f6460");
  EXPECT_EQ(
      to_hex(
          codec::to_cbor(ReadTrace::Response{2, {1, 200, 300, {{"tns", 9, ""}}}, {2, 200, 7, {}}})),
      "a3646c617374a462617402657374657073806673746174757318c86c6d6963726f7365636f6e6473076566697273"
      "74a46261740165737465707381a3646e616d6563746e73646e6f7465606c6d6963726f7365636f6e647309667374"
      "6174757318c86c6d6963726f7365636f6e647319012c68726571756573747302");
  EXPECT_EQ(
      to_hex(codec::to_cbor(Statistics::Response{1, 2, 3, 4, 65'536})),
      "a5686661696c7572657302687265717565737473016f6d6f64756c65735f66657463686564037062797465735f"
      "66726f6d5f70656572731a0001000071626c6f636b735f66726f6d5f706565727304");
}

}  // namespace
}  // namespace tau::substrate
