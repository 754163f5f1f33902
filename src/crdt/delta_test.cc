// What replicas read of one another: deltas, entries, announcements, chunks.
#include "crdt/delta.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "crdt/entry.h"
#include "crdt/wire.h"
#include "p2p/test_network.h"

namespace tau::crdt {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kNow = 1'700'000'000'000;

class DeltaTest : public ::testing::Test {
 protected:
  p2p::NodeIdentity member(std::vector<std::string> roles) {
    auto key = network_.make_key();
    auto certificate = network_.certificate(codec::peer_id_of(key.public_key()), kNow);
    certificate.roles = std::move(roles);
    return {std::move(key), p2p::sign_certificate(network_.root, certificate)};
  }
  Delta delta() {
    const WriterId other(writer_.id().str() + ".00000000000000ab");
    Delta out;
    out.map = "test";
    out.peer = writer_.id();
    out.incarnation = 7;
    out.number = 2;
    out.height = 3;
    out.time_unix_ms = kNow;
    out.previous = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("previous"));
    out.parents = {{codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("parent")), {other, 5}}};
    out.operations = {{"key", to_bytes("value"), {{other, 4}, {out.dot().writer, 1}}},
                      {"gone", std::nullopt, {{other, 4}}}};
    return out;
  }
  Result<SealedDelta> open(const SealedDelta& sealed) {
    return reader_.open(sealed.cid, sealed.block);
  }

  p2p::TestNetwork network_;
  p2p::NodeIdentity writer_ = member({"seer"});
  p2p::Admission admission_{network_.root.public_key(), writer_.certificate()};
  DeltaReader reader_{admission_, "test", "seer"};
};

TEST_F(DeltaTest, IsReadAsItWasWritten) {
  const auto sealed = seal(writer_, delta());
  ASSERT_TRUE(sealed) << sealed.error().to_string();
  EXPECT_TRUE(sealed->cid.matches(sealed->block));
  const auto opened = open(*sealed);
  ASSERT_TRUE(opened) << opened.error().to_string();
  EXPECT_EQ(opened->delta, delta());
  EXPECT_EQ(opened->link(), sealed->link());
}

TEST_F(DeltaTest, IsRefusedFromWhoMayNotWrite) {
  EXPECT_EQ(open(*seal(member({"gateway"}), delta())).error().code(), ErrorCode::permission_denied);
  // Of another network.
  p2p::TestNetwork other;
  auto key = other.make_key();
  const auto foreign = p2p::sign_certificate(
      other.root, other.certificate(codec::peer_id_of(key.public_key()), kNow));
  EXPECT_EQ(open(*seal({key, foreign}, delta())).error().code(), ErrorCode::permission_denied);
  // With the certificate of somebody else.
  EXPECT_EQ(open(*seal({key, writer_.certificate()}, delta())).error().code(),
            ErrorCode::permission_denied);
  // Written when the certificate was not valid.
  Delta late = delta();
  late.time_unix_ms = kNow + 10 * 86'400'000LL;
  EXPECT_EQ(open(*seal(writer_, late)).error().code(), ErrorCode::permission_denied);
}

TEST_F(DeltaTest, OfAnotherMapIsRefused) {
  Delta other = delta();
  other.map = "other";
  EXPECT_THAT(open(*seal(writer_, other)).error().message(), HasSubstr("another map"));
}

TEST_F(DeltaTest, AnyChangedByteIsNoticed) {
  const auto sealed = *seal(writer_, delta());
  for (std::size_t i = 0; i < sealed.block.size(); ++i) {
    Bytes changed = sealed.block;
    changed[i] ^= 1;
    EXPECT_FALSE(reader_.open(sealed.cid, changed)) << "byte " << i;
    EXPECT_FALSE(reader_.open(sealed.cid, to_bytes(BytesView(sealed.block).first(i))));
  }
}

TEST_F(DeltaTest, BoundsAreKeptByWhoWritesAndByWhoReads) {
  const auto refused = [&](auto change) {
    Delta wrong = delta();
    change(wrong);
    EXPECT_FALSE(seal(writer_, wrong));
    EXPECT_FALSE(delta_of(value_of(wrong), writer_.id()));
  };
  refused([](Delta& d) { d.number = 0; });
  refused([](Delta& d) { d.number = kNumberMax + 1; });
  refused([](Delta& d) { d.height = 0; });
  refused([](Delta& d) { d.height = kNumberMax + 1; });
  refused([](Delta& d) { d.previous.reset(); });
  refused([](Delta& d) { d.number = 1; });
  refused([](Delta& d) { d.operations.clear(); });
  refused([](Delta& d) { d.operations.push_back(d.operations[0]); });
  refused([](Delta& d) { d.operations[0].key.clear(); });
  refused([](Delta& d) { d.operations[0].key.resize(kKeySizeMax + 1); });
  refused([](Delta& d) { d.operations[0].value->resize(kValueSizeMax + 1); });
  refused([](Delta& d) { d.operations[1].removes.clear(); });
  refused([](Delta& d) { d.operations[0].removes.resize(kRemovesMax + 1, {d.dot().writer, 1}); });
  refused([](Delta& d) { d.parents.push_back(d.parents[0]); });
  refused([](Delta& d) { d.parents[0].dot.number = 0; });
  Delta wrong = delta();
  wrong.parents[0].dot.writer = WriterId("nobody");
  EXPECT_FALSE(delta_of(value_of(wrong), writer_.id()));
}

TEST_F(DeltaTest, MoreThanAMegabyteIsRefused) {
  Delta large = delta();
  large.operations.clear();
  for (int i = 0; i < 5; ++i)
    large.operations.push_back({std::to_string(i), Bytes(kValueSizeMax), {}});
  EXPECT_THAT(seal(writer_, large).error().message(), HasSubstr("write less at once"));
}

Version version(const char* writer, std::uint64_t number, std::uint64_t height,
                std::string_view value = "v") {
  return {{WriterId(writer), number}, height, 1, to_bytes(value)};
}

TEST(Entry, ItsValueIsThatOfTheHighestThenOfTheGreaterWriter) {
  Entry entry;
  EXPECT_EQ(entry.winner(), nullptr);
  EXPECT_TRUE(entry.add(version("b", 1, 5)));
  EXPECT_TRUE(entry.add(version("c", 9, 4)));
  EXPECT_EQ(entry.winner()->dot.writer.str(), "b");
  EXPECT_TRUE(entry.add(version("d", 1, 5)));
  EXPECT_EQ(entry.winner()->dot.writer.str(), "d");
  EXPECT_TRUE(entry.remove({WriterId("d"), 1}));
  EXPECT_FALSE(entry.remove({WriterId("d"), 1}));
  EXPECT_EQ(entry.winner()->dot.writer.str(), "b");
}

TEST(Entry, KeepsOneVersionOfAWriterAndABoundedNumberOfAll) {
  Entry entry;
  EXPECT_TRUE(entry.add(version("a", 2, 1)));
  EXPECT_FALSE(entry.add(version("a", 1, 9)));
  EXPECT_TRUE(entry.add(version("a", 3, 1)));
  EXPECT_EQ(entry.versions().size(), 1u);
  for (std::size_t i = 0; i < 2 * kVersionsMax; ++i)
    entry.add(version(("w" + std::to_string(i)).c_str(), 1, i + 10));
  EXPECT_EQ(entry.versions().size(), kVersionsMax);
  EXPECT_EQ(entry.winner()->height, 2 * kVersionsMax + 9);
}

TEST(Entry, IsReadAsItWasStoredAndNothingElseIs) {
  Entry entry;
  entry.add(version("a", 2, 300, ""));
  entry.add(version("b", 1, 1, std::string(1000, 'x')));
  const Bytes bytes = encode(entry);
  EXPECT_EQ(*decode_entry(bytes), entry);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto cut = decode_entry(BytesView(bytes).first(i));
    if (cut) EXPECT_LT(cut->versions().size(), 2u);
  }
  EXPECT_EQ(decode_entry(Bytes{2}).error().code(), ErrorCode::data_loss);
}

TEST(Wire, ChunksKeepTheirOrderAndTheirBounds) {
  const WriterId a("p.0000000000000001"), b("p.0000000000000002");
  const std::vector<SnapshotRow> rows = {{"k", {{a, 1}, 2, 3, to_bytes("x")}},
                                         {"k", {{b, 9}, 2, ~0ull, {}}},
                                         {"l", {{a, 2}, 7, 0, to_bytes("y")}}};
  EXPECT_EQ(*decode_chunk(encode_chunk(rows)), rows);
  EXPECT_FALSE(decode_chunk(encode_chunk({rows[2], rows[0]})));
  EXPECT_FALSE(decode_chunk(encode_chunk({rows[1], rows[0]})));
  EXPECT_FALSE(decode_chunk(encode_chunk({rows[0], rows[0]})));
  for (auto wrong :
       {SnapshotRow{"", rows[0].version}, SnapshotRow{"k", {{WriterId("x"), 1}, 1, 1, {}}},
        SnapshotRow{"k", {{a, 0}, 1, 1, {}}}, SnapshotRow{"k", {{a, 1}, 0, 1, {}}},
        SnapshotRow{"k", {{a, 1}, 1, 1, Bytes(kValueSizeMax + 1)}}})
    EXPECT_FALSE(decode_chunk(encode_chunk({wrong})));
}

TEST(Wire, AnnouncementsAndContextsAreBounded) {
  const auto cid = codec::Cid::of(codec::ContentType::dag_cbor, as_bytes("x"));
  Announcement announcement{"test", {}, {{cid, WriterId("p.0000000000000001"), 1}}, {}};
  EXPECT_TRUE(decode_announcement(codec::to_cbor(announcement)));
  Announcement many = announcement;
  many.heads.resize(kAnnouncedHeadsMax + 1, many.heads[0]);
  EXPECT_FALSE(decode_announcement(codec::to_cbor(many)));
  many = announcement;
  many.blocks.resize(kAnnouncedBlocksMax + 1);
  EXPECT_FALSE(decode_announcement(codec::to_cbor(many)));
  many = announcement;
  many.heads[0].writer = WriterId("somebody");
  EXPECT_FALSE(decode_announcement(codec::to_cbor(many)));
  EXPECT_FALSE(context_from({{"p.0000000000000001", 0}}));
  EXPECT_FALSE(context_from({{"p.000000000000000G", 1}}));
  EXPECT_TRUE(context_from({{"p.000000000000000f", 1}}));
}

}  // namespace
}  // namespace tau::crdt
