#include "services/monkey/module_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guest/host_functions.h"

namespace tau::monkey {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
Bytes text(std::string_view t) { return Bytes{static_cast<std::uint8_t>(t.size())} + to_bytes(t); }
Bytes section(std::uint8_t id, const Bytes& content) {
  return Bytes{id, static_cast<std::uint8_t>(content.size())} + content;
}
const Bytes kHeader = {0, 'a', 's', 'm', 1, 0, 0, 0};
constexpr std::uint8_t kI32 = 0x7f, kI64 = 0x7e;

// Types: 0 () -> (), 1 (i32) -> (), 2 (i64) -> (), 3 (i32) -> (i32), 4 (i32, i32) -> (i32).
const Bytes kTypes = section(1, {5,    0x60, 0,    0, 0x60, 1,    kI32, 0,    0x60, 1, kI64, 0,
                                 0x60, 1,    kI32, 1, kI32, 0x60, 2,    kI32, kI32, 1, kI32});
// One function of `type`, exported as `name`, one page of memory.
Bytes module_with(std::uint8_t type, std::string_view name, const Bytes& imports = {},
                  std::uint8_t imported = 0) {
  return kHeader + kTypes + imports + section(3, {1, type}) + section(5, {1, 0, 1}) +
         section(7, Bytes{1} + text(name) + Bytes{0, imported}) + section(10, {1, 2, 0, 0x0b});
}
Bytes import(std::string_view module, std::string_view name, std::uint8_t type) {
  return section(2, Bytes{1} + text(module) + text(name) + Bytes{0, type});
}

std::string verdict(const Bytes& bytes, const std::string& call = "ping",
                    std::uint64_t memory = 1u << 20) {
  const auto outside = read_outside(bytes);
  if (!outside) return outside.error().message();
  const Status status = check_module(*outside, call, memory, guest::host_functions());
  return status ? "" : status.error().message();
}

TEST(ModuleCheck, TakesAFunctionOfOneEvent) {
  EXPECT_EQ(verdict(module_with(1, "ping")), "");
  EXPECT_EQ(verdict(module_with(3, "ping")), "");
  EXPECT_EQ(verdict(module_with(1, "ping", import("wasi_snapshot_preview1", "args_get", 4), 1)),
            "");
}

TEST(ModuleCheck, SaysWhatTheModuleExportsInstead) {
  EXPECT_THAT(verdict(module_with(1, "pong")),
              HasSubstr("call: ping, but the module exports no such function (it exports: pong)"));
}

TEST(ModuleCheck, SaysThatACallTakesAnotherArgument) {
  EXPECT_THAT(verdict(module_with(0, "ping")), HasSubstr("exports ping as () -> ()"));
  EXPECT_THAT(verdict(module_with(2, "ping")), HasSubstr("exports ping as (i64) -> ()"));
  EXPECT_THAT(verdict(module_with(4, "ping")), HasSubstr("(i32, i32) -> (i32)"));
}

TEST(ModuleCheck, NamesImportsThatNobodyOffers) {
  EXPECT_THAT(verdict(module_with(1, "ping", import("env", "launch_rockets", 0), 1)),
              HasSubstr("imports what no node offers: env.launch_rockets;"));
  EXPECT_THAT(verdict(module_with(1, "ping", import("wasi_snapshot_preview1", "args_get", 2), 1)),
              HasSubstr("wasi_snapshot_preview1.args_get as (i64) -> (), nodes offer (i32, i32)"));
  const Bytes memory = section(2, Bytes{1} + text("env") + text("memory") + Bytes{2, 0, 1});
  EXPECT_THAT(verdict(module_with(1, "ping", memory)), HasSubstr("no node offers: env.memory"));
}

TEST(ModuleCheck, SaysEverythingAtOnce) {
  const std::string all =
      verdict(module_with(2, "ping", import("a\x1b[2J", "b", 0), 1), "ping", 1024);
  EXPECT_THAT(all, HasSubstr("(i64) -> ()"));
  EXPECT_THAT(all, HasSubstr("no node offers"));
  EXPECT_THAT(all, HasSubstr("64 KiB of memory to begin with, its config gives it 1 KiB"));
  EXPECT_THAT(all, Not(HasSubstr("\x1b")));
}

TEST(ModuleCheck, RefusesWhatIsNoModule) {
  EXPECT_THAT(verdict({}), HasSubstr("no WebAssembly core module"));
  EXPECT_THAT(verdict(to_bytes("\x7f"
                               "ELF and more")),
              HasSubstr("no WebAssembly core module"));
  EXPECT_THAT(verdict(kHeader), HasSubstr("it exports: none"));
  EXPECT_THAT(verdict(kHeader + Bytes{7, 0xff, 0xff, 0xff, 0xff, 0x0f}), HasSubstr("cut short"));
  EXPECT_THAT(verdict(kHeader + section(7, {0xff, 0xff, 0xff, 0xff, 0x0f})), HasSubstr("broken"));
  // A component, of which the first bytes are the same.
  EXPECT_THAT(verdict({0, 'a', 's', 'm', 0x0d, 0, 1, 0}), HasSubstr("no WebAssembly core module"));
}

TEST(ModuleCheck, RefusesAFunctionThatNobodyWouldWantToCompile) {
  const auto with_body = [](std::uint32_t size) {
    Bytes code = {1};
    const auto number = [](Bytes& out, std::uint32_t n) {
      for (; n >= 0x80; n >>= 7) out.push_back(static_cast<std::uint8_t>(n | 0x80));
      out.push_back(static_cast<std::uint8_t>(n));
    };
    number(code, size);
    code.resize(code.size() + size);
    Bytes out = kHeader + kTypes + section(3, {1, 1}) +
                section(7, Bytes{1} + text("ping") + Bytes{0, 0}) + Bytes{10};
    number(out, static_cast<std::uint32_t>(code.size()));
    return out + code;
  };
  EXPECT_EQ(verdict(with_body(kFunctionBytesMax)), "");
  EXPECT_THAT(verdict(with_body(kFunctionBytesMax + 2048)), HasSubstr("has 2050 KiB of code"));
}

TEST(ModuleCheck, RefusesAModuleThatNoSubstrateFetches) {
  auto outside = *read_outside(module_with(1, "ping"));
  outside.bytes = kModuleBytesMax + 1;
  const Status status = check_module(outside, "ping", 1u << 20, guest::host_functions());
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), HasSubstr("nodes take at most 64 MiB"));
}

// Types of later WebAssembly are the engine's to judge.
TEST(ModuleCheck, LeavesToTheEngineWhatItDoesNotKnow) {
  Bytes module = kHeader + section(1, {1, 0x5f, 0}) + section(3, {1, 0}) +
                 section(7, Bytes{1} + text("ping") + Bytes{0, 0});
  EXPECT_EQ(verdict(module), "");
}

TEST(ModuleCheck, BearsWhateverBytesAreThere) {
  const Bytes good = module_with(1, "ping", import("wasi_snapshot_preview1", "args_get", 4), 1);
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const int bits : {0x01, 0x40, 0x80, 0xff}) {
      Bytes bad = good;
      bad[i] ^= static_cast<std::uint8_t>(bits);
      (void)verdict(bad);
    }
    (void)verdict(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(i)));
  }
}

}  // namespace
}  // namespace tau::monkey
