#include "services/monkey/images/cargo_lock.h"

#include <gtest/gtest.h>

namespace tau::monkey {
namespace {

std::string package(const std::string& name, const std::string& source,
                    const std::string& checksum) {
  std::string out = "\n[[package]]\nname = \"" + name + "\"\nversion = \"1.2.3+x\"\n";
  if (!source.empty()) out += "source = \"" + source + "\"\n";
  if (!checksum.empty()) out += "checksum = \"" + checksum + "\"\n";
  return out + "dependencies = [\n \"memchr\",\n]\n";
}
std::string refusal(const std::string& text) {
  const auto crates = crates_of_lock("Cargo.lock", text);
  EXPECT_FALSE(crates);
  return crates ? std::string() : crates.error().message();
}

TEST(CargoLock, NamesTheCratesOfTheRegistryAndNotTheProjectsOwn) {
  const auto crates = crates_of_lock(
      "Cargo.lock", "# This file is generated.\nversion = 4\n" +
                        package("serde_json", "registry+index", "ab") + package("ping", "", "") +
                        package("serde", "registry+index", "cd"));
  ASSERT_TRUE(crates) << crates.error().message();
  ASSERT_EQ(crates->size(), 2u);
  EXPECT_EQ((*crates)[0].file_name(), "serde_json-1.2.3+x");
  EXPECT_EQ((*crates)[1].file_name(), "serde-1.2.3+x");
  EXPECT_TRUE(crates_of_lock("Cargo.lock", "")->empty());
}

TEST(CargoLock, CratesOfElsewhereAreRefusedWithTheirPlaceAndAdvice) {
  const std::string git = refusal("version = 4\n" + package("a", "git+ssh://host/a#12", ""));
  EXPECT_TRUE(git.starts_with("Cargo.lock:3:1: error: the crate a comes from a git repository"))
      << git;
  EXPECT_NE(git.find("copy its sources into the function's folder"), std::string::npos);
  EXPECT_NE(refusal(package("a", "registry+index", "")).find("no checksum"), std::string::npos);
  EXPECT_NE(refusal(package("a", "sparse+index", "ab")).find("elsewhere"), std::string::npos);
}

TEST(CargoLock, NamesThatAreNoFileNamesAreRefused) {
  for (const auto* name : {"../../etc", "a/b", ".hidden", "a b", ""})
    EXPECT_NE(refusal(package(name, "registry+index", "ab")).find("plain name"), std::string::npos)
        << name;
}

TEST(CargoLock, HasABound) {
  std::string many;
  for (int i = 0; i < 2001; ++i) many += package("a", "registry+index", "ab");
  EXPECT_NE(refusal(many).find("more than 2000 crates"), std::string::npos);
  EXPECT_NE(refusal(std::string(3u << 20, '\n')).find("larger than"), std::string::npos);
}

}  // namespace
}  // namespace tau::monkey
