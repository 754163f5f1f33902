#include "services/monkey/module_cache.h"

#include <gtest/gtest.h>

#include "runtime/loop.h"
#include "store/memory/memory_kv.h"

namespace tau::monkey {
namespace {

codec::Cid module_number(int i) {
  return codec::Cid::of(codec::ContentType::raw, as_bytes(std::to_string(i)));
}

TEST(ModuleCache, RemembersAcrossRestartsAndForgetsWhatIsUnused) {
  runtime::VirtualLoop loop;
  store::MemoryKv kv;
  {
    ModuleCache cache(kv, 3);
    ASSERT_TRUE(runtime::block_on(loop, cache.load()));
    for (int i = 0; i < 3; ++i)
      ASSERT_TRUE(runtime::block_on(loop, cache.put("d" + std::to_string(i), module_number(i), i)));
    EXPECT_EQ(cache.find("d0"), module_number(0));  // used: d1 is the oldest now
    ASSERT_TRUE(runtime::block_on(loop, cache.put("d3", module_number(3), 3)));
    EXPECT_FALSE(cache.find("d1"));
    EXPECT_EQ(cache.size(), 3u);
  }
  ModuleCache cache(kv, 3);
  ASSERT_TRUE(runtime::block_on(loop, cache.load()));
  EXPECT_EQ(cache.size(), 3u);
  EXPECT_EQ(cache.find("d3"), module_number(3));
  ASSERT_TRUE(runtime::block_on(loop, cache.forget("d3")));
  EXPECT_FALSE(cache.find("d3"));
}

}  // namespace
}  // namespace tau::monkey
