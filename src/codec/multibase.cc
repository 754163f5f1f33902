#include "codec/multibase.h"

#include <algorithm>

namespace tau::codec {
namespace {

constexpr std::size_t kTextMax = 256;
constexpr std::string_view kBase58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
constexpr std::string_view kBase32 = "abcdefghijklmnopqrstuvwxyz234567";

Status check_length(std::string_view text) {
  if (text.size() > kTextMax)
    return fail(ErrorCode::invalid_argument, "text of " + std::to_string(text.size()) +
                                                 " characters is too long for a CID or a peer id");
  return {};
}

}  // namespace

std::string base58btc_encode(BytesView bytes) {
  std::size_t zeros = 0;
  while (zeros < bytes.size() && bytes[zeros] == 0) ++zeros;
  Bytes digits;  // little endian, base 58
  for (const std::uint8_t byte : bytes.subspan(zeros)) {
    unsigned carry = byte;
    for (auto& d : digits) {
      carry += static_cast<unsigned>(d) << 8;
      d = static_cast<std::uint8_t>(carry % 58);
      carry /= 58;
    }
    for (; carry > 0; carry /= 58) digits.push_back(static_cast<std::uint8_t>(carry % 58));
  }
  std::string out(zeros, '1');
  for (auto d = digits.rbegin(); d != digits.rend(); ++d) out.push_back(kBase58[*d]);
  return out;
}

Result<Bytes> base58btc_decode(std::string_view text) {
  TRY_STATUS(check_length(text));
  std::size_t zeros = 0;
  while (zeros < text.size() && text[zeros] == '1') ++zeros;
  Bytes digits;  // little endian, base 256
  for (const char c : text.substr(zeros)) {
    const auto at = kBase58.find(c);
    if (at == std::string_view::npos)
      return fail(ErrorCode::invalid_argument, std::string("character '") + c + "' is not base58");
    unsigned carry = static_cast<unsigned>(at);
    for (auto& d : digits) {
      carry += d * 58u;
      d = static_cast<std::uint8_t>(carry);
      carry >>= 8;
    }
    for (; carry > 0; carry >>= 8) digits.push_back(static_cast<std::uint8_t>(carry));
  }
  Bytes out(zeros, 0);
  out.insert(out.end(), digits.rbegin(), digits.rend());
  return out;
}

std::string base32_encode(BytesView bytes) {
  std::string out;
  unsigned bits = 0, held = 0;
  for (const std::uint8_t byte : bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) out.push_back(kBase32[(held >> (bits - 5)) & 31]);
    held &= (1u << bits) - 1;
  }
  if (bits > 0) out.push_back(kBase32[(held << (5 - bits)) & 31]);
  return out;
}

Result<Bytes> base32_decode(std::string_view text) {
  TRY_STATUS(check_length(text));
  Bytes out;
  unsigned bits = 0, held = 0;
  for (const char c : text) {
    const auto at = kBase32.find(c);
    if (at == std::string_view::npos)
      return fail(ErrorCode::invalid_argument, std::string("character '") + c + "' is not base32");
    held = (held << 5) | static_cast<unsigned>(at);
    if ((bits += 5) >= 8) {
      bits -= 8;
      out.push_back(static_cast<std::uint8_t>(held >> bits));
      held &= (1u << bits) - 1;
    }
  }
  if (bits >= 5 || held != 0)
    return fail(ErrorCode::invalid_argument, "base32 text ends in stray bits");
  return out;
}

}  // namespace tau::codec
