#include "services/monkey/images/go_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tau::monkey {
namespace {

using ::testing::ElementsAre;

TEST(GoHeader, EndsWhereTheDeclarationsBegin) {
  const std::string header = go_header(
      "//go:build wasm\n\n/* func main() */\npackage lib\n\nimport \"fmt\"\nimport (\n\tj "
      "`encoding/json` // why\n\t. \"a.b/c\"\n)\n\nfunc f() {}\n");
  EXPECT_EQ(
      header,
      "//go:build wasm\npackage lib import \"fmt\" import ( j `encoding/json` . \"a.b/c\" ) ");
}

TEST(GoHeader, IsTheSameWhateverTheCodeDoes) {
  const std::string head = "package lib\nimport \"fmt\"\n";
  EXPECT_EQ(go_header(head + "func f() { fmt.Println(1) }"),
            go_header("// A comment.\n" + head + "var x = 2"));
  EXPECT_NE(go_header(head), go_header("package lib\nimport \"os\"\n"));
}

TEST(GoHeader, BearsWhatIsNoGo) {
  EXPECT_EQ(go_header(""), "");
  EXPECT_EQ(go_header("/* never closed"), "");
  EXPECT_EQ(go_header("\"never closed"), "\"never closed ");
  EXPECT_EQ(go_header("\"\\"), "\"\\ ");
  EXPECT_EQ(go_header("package \xff\x01 )("), "package \xff \x01 ) ( ");
}

TEST(GoSum, NamesTheFilesOfAProxy) {
  EXPECT_THAT(go_sum_names("github.com/BurntSushi/toml v1.2.0 h1:abc=\n"
                           "golang.org/x/text v0.3.0/go.mod h1:def=\n"
                           "broken\n\n../../etc v1.0.0 h1:x\n/abs v1 h1:x\na b/../c h1:x\n"),
              ElementsAre("github.com/!burnt!sushi/toml/@v/v1.2.0.zip",
                          "github.com/!burnt!sushi/toml/@v/v1.2.0.info",
                          "golang.org/x/text/@v/v0.3.0.mod"));
}

}  // namespace
}  // namespace tau::monkey
