#include "project/yaml.h"

#include <gtest/gtest.h>

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
