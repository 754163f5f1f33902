#include "node/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <algorithm>

#include <filesystem>

namespace tau::node {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class NetworkFiles : public ::testing::Test {
 protected:
  NetworkFiles() {
    std::string name = (fs::temp_directory_path() / "tau-network-XXXXXX").string();
    CHECK(mkdtemp(name.data()));
    folder = name;
  }
  ~NetworkFiles() override { fs::remove_all(folder); }

  fs::path folder;
  SeededRandom random{7};
  const std::int64_t now_ms = SystemClock().wall_unix_ms();
};

TEST_F(NetworkFiles, ANodeMadeInANetworkHasAConfigThatStarts) {
  ASSERT_TRUE(create_network({folder / "net", "home", ""}, random));
  NewNode node{folder / "net", "one", {}};
  node.options.services = {"tns", "seer"};
  const auto config = create_node(node, random, now_ms);
  ASSERT_TRUE(config) << config.error().to_string();
  const auto options = read_config(*config);
  ASSERT_TRUE(options) << options.error().to_string();
  EXPECT_EQ(options->network_suffix, "home.localhost");
  const auto identity = read_identity(*options, now_ms);
  ASSERT_TRUE(identity) << identity.error().to_string();
}

TEST_F(NetworkFiles, NothingIsReplaced) {
  ASSERT_TRUE(create_network({folder, "home", ""}, random));
  const auto again = create_network({folder, "home", ""}, random);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), ErrorCode::already_exists);
}

TEST_F(NetworkFiles, ASecretThatOthersMayReadIsRefused) {
  ASSERT_TRUE(create_network({folder, "home", ""}, random));
  fs::permissions(folder / "root.key", fs::perms::group_read, fs::perm_options::add);
  const auto key = read_key(folder / "root.key");
  ASSERT_FALSE(key);
  EXPECT_THAT(key.error().message(), HasSubstr("chmod 600"));
}

TEST_F(NetworkFiles, AServiceOutsideTheCertificateIsRefused) {
  ASSERT_TRUE(create_network({folder, "home", ""}, random));
  NewNode node{folder, "one", {}};
  node.options.services = {"seer"};
  const auto config = create_node(node, random, now_ms);
  ASSERT_TRUE(config);
  auto options = read_config(*config);
  ASSERT_TRUE(options);
  options->services.emplace_back("tns");
  const auto identity = read_identity(*options, now_ms);
  ASSERT_FALSE(identity);
  EXPECT_THAT(identity.error().message(), HasSubstr("services lists tns"));
}

TEST_F(NetworkFiles, AKeyOfAnotherNodeDoesNotFitTheCertificate) {
  ASSERT_TRUE(create_network({folder, "home", ""}, random));
  const auto one = create_node({folder, "one", {}}, random, now_ms);
  const auto two = create_node({folder, "two", {}}, random, now_ms);
  ASSERT_TRUE(one && two);
  auto options = read_config(*one);
  ASSERT_TRUE(options);
  options->identity_key = folder / "two" / "node.key";
  EXPECT_FALSE(read_identity(*options, now_ms));
}

TEST_F(NetworkFiles, PatricksAreToldOfEachOtherAsTnsNodesAre) {
  ASSERT_TRUE(create_network({folder, "home", ""}, random));
  std::vector<std::string> ids;
  for (const std::string name : {"one", "two"}) {
    NewNode node{folder, name, {}};
    node.options.services = {"tns", "patrick"};
    const auto made = create_node(node, random, now_ms);
    ASSERT_TRUE(made) << made.error().to_string();
    ids.push_back(read_identity(*read_config(*made), now_ms)->id().str());
  }
  std::ranges::sort(ids);
  for (const fs::path& file :
       {folder / "one" / "config.yaml", folder / "two" / "config.yaml", folder / "network.yaml"}) {
    const auto options = read_config(file);
    ASSERT_TRUE(options) << options.error().to_string();
    EXPECT_EQ(options->consensus_voters, ids) << file;
    EXPECT_EQ(options->consensus_patricks, ids) << file;
  }
}

TEST_F(NetworkFiles, TnsNodesAreToldWhoFoundsTheRegistryAndLaterOnesJoin) {
  ASSERT_TRUE(create_network({folder, "home", ""}, random));
  const auto make = [&](const std::string& name, const std::string& service) {
    NewNode node{folder, name, {}};
    node.options.services = {service};
    return create_node(node, random, now_ms);
  };
  const auto voters = [&](const std::string& name) {
    const auto options = read_config(folder / name / "config.yaml");
    EXPECT_TRUE(options) << options.error().to_string();
    return options->consensus_voters;
  };
  std::vector<std::string> all;
  const auto make_tns = [&](const std::string& name) {
    const auto made = make(name, "tns");
    ASSERT_TRUE(made) << made.error().to_string();
    const auto identity = read_identity(*read_config(*made), now_ms);
    ASSERT_TRUE(identity) << identity.error().to_string();
    all.push_back(identity->id().str());
  };
  ASSERT_NO_FATAL_FAILURE(make_tns("one"));
  EXPECT_EQ(voters("one"), all);
  ASSERT_TRUE(make("other", "seer"));
  ASSERT_NO_FATAL_FAILURE(make_tns("two"));
  ASSERT_NO_FATAL_FAILURE(make_tns("three"));
  const auto founders = all;
  for (const char* name : {"one", "two", "three"})
    EXPECT_THAT(voters(name), ::testing::UnorderedElementsAreArray(founders)) << name;
  EXPECT_TRUE(voters("other").empty());

  // Who decides has begun: what is made now joins, and the founders stay what they are.
  fs::create_directories(folder / "two" / "data" / "db");
  ASSERT_NO_FATAL_FAILURE(make_tns("four"));
  for (const char* name : {"one", "three", "four"})
    EXPECT_THAT(voters(name), ::testing::UnorderedElementsAreArray(founders)) << name;
  // Also where the founders' folders are on other machines by now.
  for (const char* name : {"one", "two", "three", "four"}) fs::remove_all(folder / name);
  ASSERT_NO_FATAL_FAILURE(make_tns("five"));
  EXPECT_THAT(voters("five"), ::testing::UnorderedElementsAreArray(founders));
  EXPECT_EQ(read_config(folder / "network.yaml")->network_name, "home");
}

TEST_F(NetworkFiles, NamesThatAreNoHostLabelsAreRefused) {
  EXPECT_FALSE(create_network({folder / "x", "no/good", ""}, random));
  ASSERT_TRUE(create_network({folder, "home", ""}, random));
  EXPECT_FALSE(create_node({folder, "../up", {}}, random, now_ms));
}

}  // namespace
}  // namespace tau::node
