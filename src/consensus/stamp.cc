#include "consensus/stamp.h"

namespace tau::consensus {

Bytes put_stamp(Stamp stamp, BytesView command) {
  Bytes out;
  out.reserve(kStampSize + command.size());
  for (const std::uint64_t number : {stamp.term, stamp.elapsed_ms})
    for (int shift = 56; shift >= 0; shift -= 8)
      out.push_back(static_cast<std::uint8_t>(number >> shift));
  out.insert(out.end(), command.begin(), command.end());
  return out;
}

Result<Stamped> take_stamp(BytesView data) {
  if (data.size() < kStampSize)
    return fail(ErrorCode::invalid_argument, "a command without its stamp");
  std::uint64_t numbers[2] = {};
  for (std::size_t i = 0; i < kStampSize; ++i) numbers[i / 8] = numbers[i / 8] << 8 | data[i];
  return Stamped{{numbers[0], numbers[1]}, data.subspan(kStampSize)};
}

}  // namespace tau::consensus
