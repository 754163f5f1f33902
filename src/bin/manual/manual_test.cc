#include "bin/manual/manual.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

namespace tau::manual {
namespace {

class Manual : public ::testing::Test {
 protected:
  Manual() : app("shop: sells things", "shop") {
    app.add_flag("--json", json, "For machines");
    auto* sell = app.add_subcommand("sell", "Sell something");
    auto* fruit = sell->add_subcommand("fruit", "It's fresh");
    fruit->add_option("KIND", kind, "Which")->required();
    fruit->add_option("--count", count, "How many")->capture_default_str();
    app.add_subcommand("close", "Go home");
    app.add_subcommand("secret", "Nobody knows")->group("");
  }

  // The words that bash offers when the cursor is after the last of `words`.
  std::string offered(const std::string& words, int last) {
    const auto script = completion(app, "bash");
    EXPECT_TRUE(script);
    const auto file = std::filesystem::path(::testing::TempDir()) / "completion.bash";
    std::ofstream(file) << *script << "COMP_WORDS=(" << words << ")\nCOMP_CWORD=" << last
                        << "\n_shop\necho \"${COMPREPLY[@]}\"\n";
    FILE* shell = ::popen(("bash " + file.string()).c_str(), "r");
    std::array<char, 1000> out{};
    const std::size_t n = std::fread(out.data(), 1, out.size(), shell);
    EXPECT_EQ(::pclose(shell), 0);
    return {out.data(), n};
  }

  CLI::App app;
  bool json = false;
  std::string kind;
  int count = 3;
};

TEST_F(Manual, ThePageNamesEveryCommandThatIsNotHidden) {
  const std::string page = man_page(app, {{{"FILES", ".hidden\n"}}, "bag(1)"});
  EXPECT_EQ(page.find("secret"), std::string::npos);
  EXPECT_TRUE(page.starts_with(".TH SHOP 1 20")) << page;
  EXPECT_NE(page.find("shop \\- sells things\n"), std::string::npos) << page;
  EXPECT_NE(page.find(".SS \"shop sell fruit [OPTIONS] KIND\"\nIt's fresh\n"), std::string::npos)
      << page;
  EXPECT_NE(page.find(".B \\-\\-count INT\nHow many (default: 3)\n"), std::string::npos) << page;
  EXPECT_NE(page.find(".SH FILES\n\\&.hidden\n"), std::string::npos) << page;
}

TEST_F(Manual, BashOffersWhatMayFollow) {
  EXPECT_EQ(offered("shop ''", 1), "sell close --help --json\n");
  EXPECT_EQ(offered("shop s", 1), "sell\n");
  EXPECT_EQ(offered("shop --json sell ''", 3), "fruit --help\n");
  EXPECT_EQ(offered("shop sell fruit apple --c", 4), "--count\n");
}

TEST_F(Manual, EveryShellHasAScriptAndOthersAreRefused) {
  for (const char* shell : {"zsh", "fish"}) {
    const auto script = completion(app, shell);
    ASSERT_TRUE(script);
    EXPECT_NE(script->find("fruit"), std::string::npos);
    EXPECT_EQ(script->find("secret"), std::string::npos);
  }
  const auto none = completion(app, "tcsh");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), ErrorCode::invalid_argument);
}

TEST_F(Manual, TheCommandsPrintThem) {
  Status status;
  declare(app, {}, status);
  ::testing::internal::CaptureStdout();
  app.parse("completion fish");
  EXPECT_NE(::testing::internal::GetCapturedStdout().find("complete -c shop"), std::string::npos);
  EXPECT_TRUE(status);
  app.parse("completion ksh");
  EXPECT_FALSE(status);
}

}  // namespace
}  // namespace tau::manual
