#include "p2p/host.h"

namespace tau::p2p {

Task<Status> read_exactly(Stream& stream, std::span<std::uint8_t> out) {
  while (!out.empty()) {
    CO_TRY(const std::size_t n, stream.read(out));
    if (n == 0) {
      co_return fail(ErrorCode::unavailable, "stream from " + stream.remote().str() + " ended " +
                                                 std::to_string(out.size()) +
                                                 " bytes before it should have");
    }
    out = out.subspan(n);
  }
  co_return Status{};
}

}  // namespace tau::p2p
