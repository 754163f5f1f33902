#include "process/archive.h"

#include <gtest/gtest.h>

#include <cstring>

namespace tau::process {
namespace {

// One ustar header (POSIX.1-1988), written by hand: our own writer makes no hostile entries.
Bytes header(const std::string& name, char type, std::size_t size, const std::string& link = "") {
  Bytes h(512, 0);
  std::memcpy(h.data(), name.data(), std::min<std::size_t>(name.size(), 100));
  std::memcpy(h.data() + 100, "0000644", 7);
  std::memcpy(h.data() + 108, "0000000", 7);
  std::memcpy(h.data() + 116, "0000000", 7);
  char octal[16];
  std::snprintf(octal, sizeof octal, "%011zo", size);
  std::memcpy(h.data() + 124, octal, 11);
  std::memcpy(h.data() + 136, "00000000000", 11);
  std::memset(h.data() + 148, ' ', 8);
  h[156] = static_cast<std::uint8_t>(type);
  std::memcpy(h.data() + 157, link.data(), link.size());
  std::memcpy(h.data() + 257, "ustar\00000", 8);
  unsigned sum = 0;
  for (const auto b : h) sum += b;
  std::snprintf(octal, sizeof octal, "%06o", sum);
  std::memcpy(h.data() + 148, octal, 7);
  return h;
}

Bytes archive_of(std::vector<Bytes> parts) {
  Bytes out;
  for (auto& part : parts) {
    part.resize((part.size() + 511) / 512 * 512);
    out.insert(out.end(), part.begin(), part.end());
  }
  out.resize(out.size() + 1024);
  return out;
}

TEST(Archive, ReadsWhatItWrites) {
  ArchivedFiles files;
  files["main.wasm"] = {to_bytes("\0asm"), false};
  files["a/b/run.sh"] = {to_bytes("echo hello"), true};
  files["empty"] = {};
  const auto tar = write_tar(files);
  ASSERT_TRUE(tar);
  const auto back = read_tar(*tar, {}, Links::refuse);
  ASSERT_TRUE(back) << back.error().to_string();
  EXPECT_EQ(*back, files);
  EXPECT_EQ(*write_tar(files), *tar);
}

TEST(Archive, RefusesWhatReachesOutside) {
  struct Case {
    Bytes entry;
    const char* says;
  };
  const Case cases[] = {
      {header("../x", '0', 0), "leaves its folder"},
      {header("a/../../x", '0', 0), "leaves its folder"},
      {header("/etc/passwd", '0', 0), "absolute"},
      {header("main.wasm", '2', 0, "/etc/shadow"), "link"},
      {header("main.wasm", '1', 0, "other"), "link"},
      {header("dev", '3', 0), "no plain file"},
      {header("pipe", '6', 0), "no plain file"},
  };
  for (const auto& c : cases) {
    const auto files = read_tar(archive_of({c.entry}), {}, Links::refuse);
    ASSERT_FALSE(files) << c.says;
    EXPECT_NE(files.error().message().find(c.says), std::string::npos) << files.error().message();
  }
}

TEST(Archive, SkipsSymbolicLinksOfARepositoryButNotHardLinks) {
  const auto files =
      read_tar(archive_of({header("link", '2', 0, "/etc/shadow"), header("f", '0', 1), Bytes{'x'}}),
               {}, Links::skip);
  ASSERT_TRUE(files) << files.error().to_string();
  EXPECT_EQ(files->size(), 1u);
  EXPECT_FALSE(read_tar(archive_of({header("l", '1', 0, "f")}), {}, Links::skip));
}

TEST(Archive, KeepsItsLimits) {
  const Bytes kib(1024, 'x');
  const auto tar = archive_of({header("a", '0', 1024), kib, header("b", '0', 1024), kib});
  EXPECT_TRUE(read_tar(tar, {.bytes_max = 2048}, Links::refuse));
  const auto heavy = read_tar(tar, {.bytes_max = 2047}, Links::refuse);
  ASSERT_FALSE(heavy);
  EXPECT_EQ(heavy.error().code(), ErrorCode::resource_exhausted);
  const auto many = read_tar(tar, {.files_max = 1}, Links::refuse);
  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().code(), ErrorCode::resource_exhausted);
}

TEST(Archive, RefusesBrokenBytesWithoutHarm) {
  ArchivedFiles files;
  files["a"] = {Bytes(600, 'a'), false};
  files[std::string(200, 'p')] = {Bytes(10, 'b'), true};
  const Bytes good = *write_tar(files);
  for (std::size_t i = 0; i < good.size(); i += 7) {
    Bytes bad = good;
    bad[i] ^= 0x5a;
    (void)read_tar(bad, {.bytes_max = 4096, .files_max = 8}, Links::refuse);
    (void)read_tar(BytesView(good).first(i), {}, Links::refuse);
  }
  EXPECT_FALSE(
      read_tar(as_bytes("this is no archive at all, but a line of text"), {}, Links::refuse));
  EXPECT_TRUE(read_tar({}, {}, Links::refuse));
}

}  // namespace
}  // namespace tau::process
