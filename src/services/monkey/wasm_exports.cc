#include "services/monkey/wasm_exports.h"

#include <algorithm>
#include <array>
#include <optional>

namespace tau::monkey {
namespace {

constexpr std::array<std::uint8_t, 8> kHeader = {0, 'a', 's', 'm', 1, 0, 0, 0};
constexpr std::uint8_t kExportSection = 7;
constexpr std::uint8_t kFunction = 0;  // kind of an export
constexpr std::size_t kExportsMax = 10'000;

// Unsigned LEB128 of 32 bits.
std::optional<std::uint32_t> take_u32(BytesView& in) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 35 && !in.empty(); shift += 7) {
    const std::uint8_t byte = in[0];
    in = in.subspan(1);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) {
      if (value > 0xffffffffu) return std::nullopt;
      return static_cast<std::uint32_t>(value);
    }
  }
  return std::nullopt;
}

std::optional<BytesView> take_bytes(BytesView& in, std::size_t size) {
  if (in.size() < size) return std::nullopt;
  const BytesView out = in.first(size);
  in = in.subspan(size);
  return out;
}

std::optional<std::vector<std::string>> read_exports(BytesView section) {
  std::vector<std::string> out;
  const auto count = take_u32(section);
  if (!count || *count > kExportsMax) return std::nullopt;
  for (std::uint32_t i = 0; i < *count; ++i) {
    const auto length = take_u32(section);
    const auto name = length ? take_bytes(section, *length) : std::nullopt;
    const auto kind = name ? take_bytes(section, 1) : std::nullopt;
    if (!kind || !take_u32(section)) return std::nullopt;
    if ((*kind)[0] == kFunction) out.push_back(to_text(*name));
  }
  return out;
}

}  // namespace

Result<std::vector<std::string>> exported_functions(BytesView module) {
  if (module.size() < kHeader.size() || !std::equal(kHeader.begin(), kHeader.end(), module.begin()))
    return fail(ErrorCode::invalid_argument, "this is no WebAssembly core module");
  module = module.subspan(kHeader.size());
  while (!module.empty()) {
    const std::uint8_t id = module[0];
    module = module.subspan(1);
    const auto size = take_u32(module);
    const auto section = size ? take_bytes(module, *size) : std::nullopt;
    if (!section) return fail(ErrorCode::invalid_argument, "the module is cut short");
    if (id != kExportSection) continue;
    auto exports = read_exports(*section);
    if (!exports) return fail(ErrorCode::invalid_argument, "the module's exports are broken");
    return *std::move(exports);
  }
  return std::vector<std::string>{};
}

}  // namespace tau::monkey
