#include "node/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

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

TEST_F(NetworkFiles, TnsNodesOfOneFolderAreToldOfEachOther) {
  ASSERT_TRUE(create_network({folder, "home", ""}, random));
  const auto make = [&](const std::string& name, const std::string& service) {
    NewNode node{folder, name, {}};
    node.options.services = {service};
    return create_node(node, random, now_ms);
  };
  ASSERT_TRUE(make("one", "tns"));
  EXPECT_TRUE(read_config(folder / "one" / "config.yaml")->consensus_voters.empty());
  ASSERT_TRUE(make("other", "seer"));
  ASSERT_TRUE(make("two", "tns"));
  ASSERT_TRUE(make("three", "tns"));
  std::vector<std::string> all;
  for (const char* name : {"one", "two", "three"}) {
    const auto options = read_config(folder / name / "config.yaml");
    ASSERT_TRUE(options) << options.error().to_string();
    const auto identity = read_identity(*options, now_ms);
    ASSERT_TRUE(identity) << identity.error().to_string();
    all.push_back(identity->id().str());
  }
  for (const char* name : {"one", "two", "three"})
    EXPECT_THAT(read_config(folder / name / "config.yaml")->consensus_voters,
                ::testing::UnorderedElementsAreArray(all))
        << name;
  EXPECT_TRUE(read_config(folder / "other" / "config.yaml")->consensus_voters.empty());

  fs::create_directories(folder / "two" / "data" / "db");
  const auto late = make("four", "tns");
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), ErrorCode::failed_precondition);
  EXPECT_THAT(late.error().message(), HasSubstr("two has been started"));
}

TEST_F(NetworkFiles, NamesThatAreNoHostLabelsAreRefused) {
  EXPECT_FALSE(create_network({folder / "x", "no/good", ""}, random));
  ASSERT_TRUE(create_network({folder, "home", ""}, random));
  EXPECT_FALSE(create_node({folder, "../up", {}}, random, now_ms));
}

}  // namespace
}  // namespace tau::node
