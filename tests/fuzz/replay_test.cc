// Replays what the fuzzer has found and what the encoders write, under the sanitizers that `make
// test` builds with. TAU_WRITE_SEEDS=1 writes the seeds into tests/fuzz/corpus anew.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "targets.h"

namespace tau::fuzz {
namespace {

namespace fs = std::filesystem;

// A corpus is read by people who ask what a file is for: small, and few.
constexpr std::uintmax_t kCorpusBytesMax = 64u << 10;

fs::path corpus_of(const Target& target) {
  return fs::path(TAU_FUZZ_CORPUS) / std::string(target.name);
}

Bytes read_bytes(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

class Replay : public testing::TestWithParam<Target> {};

TEST_P(Replay, SurvivesItsCorpusAndItsSeeds) {
  const Target& target = GetParam();
  for (const Seed& seed : target.seeds()) {
    SCOPED_TRACE(seed.name);
    target.run(seed.bytes);
    for (const std::size_t part : {seed.bytes.size() / 2, seed.bytes.size() / 3})
      target.run(BytesView(seed.bytes).first(part));
    if (std::getenv("TAU_WRITE_SEEDS")) {
      fs::create_directories(corpus_of(target));
      std::ofstream out(corpus_of(target) / ("seed-" + seed.name + ".bin"), std::ios::binary);
      out.write(reinterpret_cast<const char*>(seed.bytes.data()),
                static_cast<std::streamsize>(seed.bytes.size()));
    }
  }
  std::uintmax_t bytes = 0;
  ASSERT_TRUE(fs::exists(corpus_of(target))) << "TAU_WRITE_SEEDS=1 writes a first corpus";
  for (const auto& entry : fs::directory_iterator(corpus_of(target))) {
    SCOPED_TRACE(entry.path().string());
    bytes += entry.file_size();
    target.run(read_bytes(entry.path()));
  }
  EXPECT_GT(bytes, 0u);
  EXPECT_LE(bytes, kCorpusBytesMax);
}

INSTANTIATE_TEST_SUITE_P(Fuzz, Replay, testing::ValuesIn(all_targets()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(FuzzCorpus, HasNoFolderWithoutATarget) {
  std::set<std::string> names;
  for (const Target& target : all_targets()) names.emplace(target.name);
  for (const auto& entry : fs::directory_iterator(TAU_FUZZ_CORPUS))
    EXPECT_TRUE(names.contains(entry.path().filename().string())) << entry.path();
}

}  // namespace
}  // namespace tau::fuzz
