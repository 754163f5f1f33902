#include "services/monkey/wasm_exports.h"

#include <gtest/gtest.h>

namespace tau::monkey {
namespace {

// (module (func (export "ping")) (memory (export "memory") 1)), as wat2wasm writes it.
const Bytes kModule = {0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x04, 0x01, 0x60,
                       0x00, 0x00, 0x03, 0x02, 0x01, 0x00, 0x05, 0x03, 0x01, 0x00, 0x01, 0x07,
                       0x11, 0x02, 0x04, 0x70, 0x69, 0x6e, 0x67, 0x00, 0x00, 0x06, 0x6d, 0x65,
                       0x6d, 0x6f, 0x72, 0x79, 0x02, 0x00, 0x0a, 0x04, 0x01, 0x02, 0x00, 0x0b};

TEST(WasmExports, NamesTheFunctions) {
  const auto exports = exported_functions(kModule);
  ASSERT_TRUE(exports) << exports.error().to_string();
  EXPECT_EQ(*exports, std::vector<std::string>{"ping"});
}

TEST(WasmExports, BearWhateverBytesAreThere) {
  EXPECT_FALSE(exported_functions({}));
  EXPECT_FALSE(exported_functions(BytesView(kModule).first(30)));
  for (std::size_t i = 0; i < kModule.size(); ++i) {
    for (const int bits : {0x01, 0x80, 0xff}) {
      Bytes bad = kModule;
      bad[i] ^= static_cast<std::uint8_t>(bits);
      (void)exported_functions(bad);
    }
    (void)exported_functions(BytesView(kModule).first(i));
  }
}

}  // namespace
}  // namespace tau::monkey
