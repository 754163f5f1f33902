#include "codec/varint.h"

namespace tau::codec {

void put_uvarint(Bytes& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<std::uint8_t>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<std::uint8_t>(value));
}

Result<std::uint64_t> take_uvarint(BytesView& in) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 9; ++i) {
    if (i == in.size()) return fail(ErrorCode::invalid_argument, "varint is cut short");
    const std::uint8_t byte = in[i];
    value |= static_cast<std::uint64_t>(byte & 0x7f) << (7 * i);
    if (byte & 0x80) continue;
    if (i > 0 && byte == 0)
      return fail(ErrorCode::invalid_argument, "varint is not in its shortest form");
    in = in.subspan(i + 1);
    return value;
  }
  return fail(ErrorCode::invalid_argument, "varint is longer than 9 bytes");
}

}  // namespace tau::codec
