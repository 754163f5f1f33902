#include "node/user_api.h"

#include <gtest/gtest.h>

namespace tau::node {
namespace {

TEST(LogCursor, SurvivesItsTextAndRefusesOthers) {
  LogCursor cursor;
  cursor.set(PeerId("12D3KooWAnn"), 7);
  cursor.set(PeerId("12D3KooWBob"), 0);
  const auto again = LogCursor::parse(cursor.to_string());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->after(PeerId("12D3KooWAnn")), 7u);
  EXPECT_EQ(again->after(PeerId("nobody")), 0u);
  EXPECT_EQ(again->to_string(), cursor.to_string());
  EXPECT_TRUE(LogCursor::parse(""));
  for (const auto* broken : {"a", "a.", ".7", "a.x", "a.7~~", "a.-1", "a.99999999999999999999"})
    EXPECT_FALSE(LogCursor::parse(broken)) << broken;
}

}  // namespace
}  // namespace tau::node
