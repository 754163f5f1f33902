#include "project/yaml.h"

#include <gtest/gtest.h>

#include <ctime>

namespace tau::project {
namespace {

Problems problems_of(std::string_view text) {
  Problems problems;
  (void)parse_yaml("f.yaml", as_bytes(text), problems);
  return problems;
}

TEST(Yaml, KeepsThePlacesOfThings) {
  Problems problems;
  const auto node = parse_yaml("f.yaml", as_bytes("a: 1\nb:\n  - x\n  - 'true'\n"), problems);
  ASSERT_TRUE(node) << problems.to_string();
  const auto* b = node->find("b");
  ASSERT_TRUE(b);
  EXPECT_EQ(b->place.to_string(), "f.yaml:2:1");
  ASSERT_EQ(b->value.items.size(), 2u);
  EXPECT_EQ(b->value.items[1].place.to_string(), "f.yaml:4:5");
  EXPECT_TRUE(b->value.items[1].quoted);
}

TEST(Yaml, RefusesWhatMakesSmallFilesLarge) {
  const std::pair<std::string, const char*> cases[] = {
      {"a: &x [1]\nb: *x\n", "anchors"},
      {"a: *x\n", "no YAML"},
      {"a: !!binary aGk=\n", "tags"},
      {std::string(100, '[') + std::string(100, ']'), "deeper"},
      {std::string(100'000, '['), "deeper"},
      {"[" + std::string(60'000, ',') + "]", ""},
      {"a: 1\na: 2\n", "f.yaml:2:1: error: \"a\" is there already, in line 1"},
      {"a: 1\n---\nb: 2\n", "more than one document"},
      {"a: [1\n", "no YAML"},
      {"[a]: b\n", "a key must be text"},
      {std::string(kYamlBytesMax + 1, ' '), "larger"},
  };
  for (const auto& [text, says] : cases) {
    const Problems problems = problems_of(text);
    EXPECT_FALSE(problems.ok()) << text.substr(0, 40);
    EXPECT_NE(problems.to_string().find(says), std::string::npos) << problems.to_string();
  }
  std::string many = "a:\n";
  for (int i = 0; i < 60'000; ++i) many += "- 1\n";
  EXPECT_NE(problems_of(many).to_string().find("more than 50000"), std::string::npos);
}

TEST(Yaml, RefusesWhatIsNoText) {
  using namespace std::string_literals;
  const std::pair<std::string, const char*> cases[] = {
      {"a: 1\nb: \0\n"s, "f.yaml:2:4: error: the control character 0x00"},
      {"a: \xff\n", "f.yaml:1:4: error: the byte 0xff is no UTF-8"},
      {"a: \xc0\xaf\n", "f.yaml:1:4: error: the byte 0xc0"},      // overlong '/'
      {"a: \xed\xa0\x80\n", "f.yaml:1:4: error: the byte 0xed"},  // a surrogate
      {"a: \xf5\x80\x80\x80\n", "f.yaml:1:4: error: the byte 0xf5"},
      {"\xff\xfe"
       "a\0:\0"s,
       "f.yaml:1:1: error: the byte 0xff"},  // UTF-16
      {"\0a\0:\0 \0"
       "1"s,
       "f.yaml:1:1: error: the control character"},
      {"a: \x1b[2J\n", "f.yaml:1:4: error: the control character 0x1b"},
      {"a: \"\xe2\x82\"\n", "f.yaml:1:5: error: the byte 0xe2"},
  };
  for (const auto& [text, says] : cases)
    EXPECT_NE(problems_of(text).to_string().find(says), std::string::npos)
        << says << "\n"
        << problems_of(text).to_string();
  // What people's editors write is read.
  for (const std::string text : {"\xef\xbb\xbf"
                                 "a: 1\n",
                                 "a: 1\r\nb: 2\r\n", "a: \xc3\xa9\n"})
    EXPECT_TRUE(problems_of(text).ok()) << problems_of(text).to_string();
  EXPECT_NE(
      problems_of("a:\n\tb: 1\n").to_string().find("f.yaml:2:1: error: a tab in the indentation"),
      std::string::npos)
      << problems_of("a:\n\tb: 1\n").to_string();
}

// Files as large as they may be, each made to be slow for some parser. CPU time: the machine may be
// busy with other tests.
TEST(Yaml, TakesNoLongForAnyFile) {
  const auto repeated = [](std::string_view text) {
    std::string out;
    while (out.size() + text.size() <= kYamlBytesMax) out += text;
    return out;
  };
  const std::string texts[] = {
      repeated("a"),
      repeated("["),
      repeated("{a: "),
      repeated("- "),
      repeated("? "),
      repeated("a: 1\n"),
      repeated("'"),
      repeated("\""),
      repeated("# comment "),
      repeated("\n"),
      repeated("&a "),
      repeated("*a "),
      repeated("!"),
      repeated("|\n"),
      repeated("%YAML 1.2\n"),
      repeated("---\n"),
      repeated("a:\n"),
      repeated("[a, "),
      repeated("a b "),
      "a: |\n" + repeated(" x\n"),
      "\"" + repeated("\\n"),
      repeated("- a: ["),
      "a: '" + repeated("''") + "'",
  };
  for (const std::string& text : texts) {
    const std::clock_t begun = std::clock();
    (void)problems_of(std::string_view(text).substr(0, kYamlBytesMax));
    const double seconds = static_cast<double>(std::clock() - begun) / CLOCKS_PER_SEC;
    EXPECT_LT(seconds, 2) << text.substr(0, 40);
  }
}

TEST(Yaml, BearsWhateverBytesAreThere) {
  const std::string text =
      "id: x\ntrigger: {type: http, paths: [/a, \"/b\"]}\nlist:\n  - |\n    t\n";
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (const char c : {'\0', '\t', '&', '*', '{', ']', '"', '\n', '\xfe', ':'}) {
      std::string bad = text;
      bad[i] = c;
      (void)problems_of(bad);
    }
    (void)problems_of(text.substr(0, i));
  }
}

TEST(YamlReader, NamesTheNearestKeyForOneThatIsUnknown) {
  Problems problems;
  const auto node = parse_yaml("f.yaml", as_bytes("memori: 1\nx: 2\n"), problems);
  ASSERT_TRUE(node);
  YamlReader reader(*node, "thing", problems);
  EXPECT_FALSE(reader.text("memory"));
  reader.finish();
  EXPECT_TRUE(problems.ok());
  EXPECT_EQ(problems.to_string(),
            "f.yaml:1:1: warning: thing: \"memori\" is not known here and is ignored; did you mean "
            "\"memory\"?\nf.yaml:2:1: warning: thing: \"x\" is not known here and is ignored\n");
}

}  // namespace
}  // namespace tau::project
