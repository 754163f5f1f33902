#include "content/unixfs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/dag_cbor.h"
#include "codec/dag_pb.h"
#include "content/dag.h"
#include "runtime/loop.h"
#include "store/memory/memory_kv.h"

namespace tau::content {
namespace {

using codec::Cid;
using codec::ContentType;
using codec::UnixFsData;
using runtime::block_on;
using ::testing::HasSubstr;

// Bytes that any language makes in a line.
Bytes pattern(std::size_t size) {
  Bytes out(size);
  std::uint32_t x = 1;
  for (auto& byte : out) {
    x = x * 1103515245u + 12345u;
    byte = static_cast<std::uint8_t>(x >> 16);
  }
  return out;
}

class UnixFs : public ::testing::Test {
 protected:
  Cid add(Bytes content) {
    return *block_on(loop_, add_file(blocks_, std::move(content), store::Durability::buffered));
  }
  Result<Bytes> read(Cid root, std::size_t size_max = 100u << 20) {
    return block_on(loop_, read_file(source_, root, size_max));
  }
  Cid put(ContentType type, Bytes data) {
    const Cid cid = Cid::of(type, data);
    EXPECT_TRUE(
        block_on(loop_, blocks_.put({{cid, std::move(data)}}, store::Durability::buffered)));
    return cid;
  }
  Cid put_node(std::vector<codec::PbLink> links, UnixFsData data) {
    return put(ContentType::dag_pb,
               codec::encode_dag_pb({std::move(links), codec::encode_unixfs(data)}));
  }

  runtime::VirtualLoop loop_;
  store::MemoryKv kv_;
  store::BlockStore blocks_{kv_};
  LocalSource source_{blocks_};
};

// The CIDs that js ipfs-unixfs-importer prints with kubo's settings for CID version 1 (chunks of
// 262144 bytes, raw leaves, 174 links a node).
TEST_F(UnixFs, FilesHaveTheCidsThatOtherImplementationsGiveThem) {
  const std::pair<std::size_t, const char*> rows[] = {
      {0, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"},
      {5, "bafkreie7ivqxmr4exhue2hqq2i3diwe4t5ykmo2xpm77dqgaafesbylmpy"},
      {262144, "bafkreifystqgug5z6myhn45jr6skxoe3mtdoshssgfvv6otctnc7wuaaia"},
      {262145, "bafybeiaetu4skxr5b4g57tk74tmreuhvuqs2fnmg6k5bhyravlup5cmeri"},
      {1000000, "bafybeiazwwvjus2lugt7dt6nmxahzwbn246krlac66qk53lghcxmkgntba"},
      {262144 * 174, "bafybeicwidayukt3cqib3gp2iarc3eos3wrvrd6qwgqxpjgzsyeqwyp4im"},
      {262144 * 174 + 1, "bafybeigtwrm5pazaljydsnx5nz6awis3nyds5zefiu6mbrmoq56yred43a"},
  };
  for (const auto& [size, cid] : rows) {
    const Bytes content = pattern(size);
    EXPECT_EQ(file_of(content).root.to_string(), cid) << size;
    EXPECT_EQ(*read(add(content)), content) << size;
  }
}

TEST_F(UnixFs, FoldersHaveTheCidsThatOtherImplementationsGiveThem) {
  const auto a = file_of(as_bytes("hello world")), b = file_of(as_bytes("b"));
  const auto folder = folder_of({{"b.txt", b.root, b.total_size}, {"a.txt", a.root, a.total_size}});
  ASSERT_TRUE(folder);
  EXPECT_EQ(folder->cid.to_string(), "bafybeie42haihchds2mc27fixc23ljx6o73ynxjkj2adb3j5ufeodgldqq");
  EXPECT_TRUE(
      Cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn")->matches(folder_of({})->data));
  EXPECT_FALSE(folder_of({{"x", a.root, 1}, {"x", b.root, 1}}));
  EXPECT_FALSE(folder_of({{"", a.root, 1}}));
  EXPECT_FALSE(folder_of({{"a/b", a.root, 1}}));
}

TEST_F(UnixFs, StoresEqualChunksOnce) {
  const auto file = file_of(Bytes(10 * kChunkSize));
  EXPECT_EQ(file.blocks.size(), 2u);
  EXPECT_EQ(*read(add(Bytes(10 * kChunkSize))), Bytes(10 * kChunkSize));
}

TEST_F(UnixFs, ReadsFilesWithDataInTheirNodesAsOldWritersMadeThem) {
  const Cid leaf = put_node({}, {UnixFsData::Kind::file, to_bytes("world"), 5, {}});
  const Cid root = put_node({{leaf, "", 7}}, {UnixFsData::Kind::file, to_bytes("hello "), 11, {5}});
  EXPECT_EQ(to_text(*read(root)), "hello world");
}

TEST_F(UnixFs, ReadsNoMoreThanItIsAskedFor) {
  const Cid root = add(pattern(kChunkSize + 1));
  EXPECT_TRUE(read(root, kChunkSize + 1));
  EXPECT_EQ(read(root, kChunkSize).error().code(), ErrorCode::resource_exhausted);
  EXPECT_EQ(read(add(pattern(10)), 9).error().code(), ErrorCode::resource_exhausted);
}

TEST_F(UnixFs, RefusesNodesThatContradictThemselves) {
  const Cid leaf = put(ContentType::raw, to_bytes("12345"));
  const auto message = [&](std::vector<codec::PbLink> links, UnixFsData data) {
    const auto r = read(put_node(std::move(links), std::move(data)));
    return r ? std::string("read") : r.error().message();
  };
  const auto file = UnixFsData::Kind::file;
  EXPECT_THAT(message({{leaf, "", 5}}, {file, {}, 4, {4}}), HasSubstr("its parent says"));
  EXPECT_THAT(message({{leaf, "", 5}}, {file, {}, 6, {5}}), HasSubstr("sum of its parts"));
  EXPECT_THAT(message({{leaf, "", 5}}, {file, {}, 5, {}}), HasSubstr("one size for each link"));
  EXPECT_THAT(message({{leaf, "", 5}, {leaf, "", 5}}, {file, {}, {}, {UINT64_MAX, 5}}),
              HasSubstr("overflow"));
  EXPECT_THAT(message({{leaf, "", 0}}, {file, {}, 0, {0}}), HasSubstr("empty part"));
  EXPECT_THAT(message({}, {UnixFsData::Kind::directory, {}, {}, {}}), HasSubstr("not a file"));
  EXPECT_THAT(read(put(ContentType::dag_pb, {})).error().message(), HasSubstr("no UnixFS data"));
  EXPECT_EQ(read(Cid::of(ContentType::raw, as_bytes("absent"))).error().code(),
            ErrorCode::not_found);
}

TEST_F(UnixFs, RefusesATreeThatIsDeeperThanAnyFile) {
  Cid node = put(ContentType::raw, to_bytes("x"));
  for (int i = 0; i < 10; ++i)
    node = put_node({{node, "", 1}}, {UnixFsData::Kind::file, {}, 1, {1}});
  EXPECT_THAT(read(node).error().message(), HasSubstr("too deep"));
}

TEST(Links, AreFoundInEveryCodec) {
  const Cid a = Cid::of(ContentType::raw, as_bytes("a")),
            b = Cid::of(ContentType::raw, as_bytes("b"));
  codec::Value::Map inner;
  inner.emplace("x", codec::Value(codec::Value::List{codec::Value(b), codec::Value(true)}));
  codec::Value::Map map;
  map.emplace("a", codec::Value(a));
  map.emplace("z", codec::Value(inner));
  const Bytes cbor = codec::encode(codec::Value(map));
  EXPECT_EQ(*links_of(Cid::of(ContentType::dag_cbor, cbor), cbor), (std::vector{a, b}));
  const Bytes pb = codec::encode_dag_pb({{{b, "b", 1}, {a, "a", 1}}, {}});
  EXPECT_EQ(*links_of(Cid::of(ContentType::dag_pb, pb), pb), (std::vector{b, a}));
  EXPECT_TRUE(links_of(Cid::of(ContentType::raw, cbor), cbor)->empty());
  EXPECT_THAT(links_of(Cid::of(ContentType::dag_cbor, pb), pb).error().message(),
              HasSubstr("block bafy"));
  EXPECT_EQ(links_of(Cid::of(ContentType::dag_json, pb), pb).error().code(),
            ErrorCode::unimplemented);
}

}  // namespace
}  // namespace tau::content
