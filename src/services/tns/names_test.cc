#include "services/tns/names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tau::tns {
namespace {

const NameRules kRules("x.localhost");
const ProjectId kAnn("ann"), kBob("bob");

codec::Cid deployment(int n) {
  return codec::Cid::of(codec::ContentType::dag_cbor, as_bytes(std::to_string(n)));
}

struct Book {
  NamesAnswer run(NamesCommand command) {
    auto answer = codec::from_cbor<NamesAnswer>(names.apply(codec::to_cbor(command)));
    EXPECT_TRUE(answer);
    return *answer;
  }
  NamesAnswer claim(ProjectId project, const std::string& name) {
    return run({ClaimName{std::move(project), name}, std::nullopt});
  }
  NamesAnswer move(ProjectId project, const std::string& branch, std::uint64_t seq, int content,
                   const std::vector<std::string>& hosts,
                   std::optional<std::uint64_t> fence = std::nullopt) {
    auto to = kRules.hosts_for(branch, hosts);
    EXPECT_TRUE(to) << to.error().to_string();
    to->pointer.project = std::move(project);
    to->pointer.branch = branch;
    to->pointer.seq = seq;
    to->pointer.fence = fence;
    to->pointer.deployment = deployment(content);
    return run({std::nullopt, *to});
  }
  NamesAnswer back(ProjectId project, const std::string& branch, std::uint64_t from,
                   std::uint64_t to, int content, std::uint64_t seq) {
    MoveBack back{std::move(project), branch, from, to, deployment(content), seq, 7};
    return run({std::nullopt, std::nullopt, std::move(back)});
  }
  static ErrorCode code(const NamesAnswer& a) { return static_cast<ErrorCode>(a.code); }
  Names names;
};

TEST(Names, BelongToWhoCameFirst) {
  Book b;
  EXPECT_EQ(b.claim(kAnn, "hello.x.localhost").code, 0u);
  EXPECT_EQ(b.claim(kAnn, "hello.x.localhost").code, 0u);
  const auto refused = b.claim(kBob, "hello.x.localhost");
  EXPECT_EQ(b.code(refused), ErrorCode::already_exists);
  EXPECT_THAT(refused.message, testing::HasSubstr("hello.x.localhost"));
  const auto owner = b.names.owner_of(kRules, "hello.x.localhost");
  ASSERT_TRUE(owner);
  EXPECT_EQ(owner->project, kAnn);
  EXPECT_EQ(owner->branch, "main");
  EXPECT_FALSE(b.names.owner_of(kRules, "nobody.x.localhost"));
  EXPECT_FALSE(b.names.owner_of(kRules, "dev--hello.x.localhost"));
}

TEST(Names, ThePointerMovesOnlyForward) {
  Book b;
  const auto first = b.move(kAnn, "main", 2, 2, {"hello.x.localhost"});
  EXPECT_TRUE(first.moved);
  EXPECT_EQ(b.code(b.move(kAnn, "main", 1, 1, {"hello.x.localhost"})),
            ErrorCode::failed_precondition);
  EXPECT_EQ(b.code(b.move(kAnn, "main", 2, 9, {"hello.x.localhost"})),
            ErrorCode::failed_precondition);
  const auto again = b.move(kAnn, "main", 2, 2, {"hello.x.localhost"});
  EXPECT_EQ(again.code, 0u);
  EXPECT_FALSE(again.moved);
  EXPECT_EQ(again.pointer, first.pointer);
  EXPECT_TRUE(b.move(kAnn, "main", 5, 5, {"hello.x.localhost"}).moved);
  EXPECT_EQ(b.names.find("hello.x.localhost")->seq, 5u);
  EXPECT_EQ(b.names.find(kAnn, "main")->seq, 5u);
}

TEST(Names, OfOnePushTheBuildUnderTheNewerLeaseStays) {
  Book b;
  EXPECT_TRUE(b.move(kAnn, "main", 1, 1, {"hello.x.localhost"}, 1).moved);
  // Who lost the lease published first: the holder's result takes its place.
  EXPECT_TRUE(b.move(kAnn, "main", 1, 2, {"hello.x.localhost"}, 2).moved);
  EXPECT_EQ(b.names.find(kAnn, "main")->fence, 2u);
  // And is not replaced by it, nor by the same one again.
  for (const int content : {1, 2}) {
    const auto late = b.move(kAnn, "main", 1, content, {"hello.x.localhost"}, 1);
    EXPECT_EQ(b.code(late), ErrorCode::failed_precondition);
    EXPECT_THAT(late.message, testing::HasSubstr("too late"));
  }
  EXPECT_EQ(b.code(b.move(kAnn, "main", 1, 1, {"hello.x.localhost"})),
            ErrorCode::failed_precondition)
      << "without a fence: older than any";
  EXPECT_FALSE(b.move(kAnn, "main", 1, 2, {"hello.x.localhost"}, 2).moved) << "told again";
  EXPECT_EQ(b.names.find(kAnn, "main")->deployment, deployment(2));
  EXPECT_TRUE(b.move(kAnn, "main", 2, 3, {"hello.x.localhost"}, 1).moved) << "a newer push";
  Names again;
  ASSERT_TRUE(again.restore(b.names.snapshot()));
  EXPECT_EQ(again.find(kAnn, "main")->version(), (std::pair<std::uint64_t, std::uint64_t>(2, 1)));
}

TEST(Names, AHostThatIsNoLongerDeployedStopsAnsweringButStaysOwned) {
  Book b;
  b.move(kAnn, "main", 1, 1, {"hello.x.localhost", "www.example.com"});
  const auto next = b.move(kAnn, "main", 2, 2, {"hello.x.localhost"});
  EXPECT_THAT(next.gone, testing::ElementsAre("www.example.com"));
  EXPECT_FALSE(b.names.find("www.example.com"));
  EXPECT_EQ(b.code(b.move(kBob, "main", 1, 1, {"www.example.com"})), ErrorCode::already_exists);
}

TEST(Names, ARefusedMoveChangesNothing) {
  Book b;
  b.move(kAnn, "main", 1, 1, {"hello.x.localhost"});
  const Bytes before = b.names.snapshot();
  const auto refused = b.move(kBob, "main", 1, 1, {"bob.x.localhost", "hello.x.localhost"});
  EXPECT_EQ(b.code(refused), ErrorCode::already_exists);
  EXPECT_EQ(b.names.snapshot(), before);
  EXPECT_EQ(b.claim(kAnn, "bob.x.localhost").code, 0u);
}

TEST(Names, WhatLiesBelowALabelIsItsProjects) {
  Book b;
  b.claim(kAnn, "hello.x.localhost");
  EXPECT_EQ(b.code(b.move(kBob, "main", 1, 1, {"api.hello.x.localhost"})),
            ErrorCode::already_exists);
  EXPECT_TRUE(b.move(kAnn, "main", 1, 1, {"api.hello.x.localhost"}).moved);
}

TEST(Names, ABranchAnswersItsPreviewsBesideMain) {
  Book b;
  b.move(kAnn, "main", 1, 1, {"hello.x.localhost", "www.example.com"});
  const auto preview = b.move(kAnn, "feature/A", 2, 2, {"hello.x.localhost", "www.example.com"});
  ASSERT_TRUE(preview.pointer);
  EXPECT_THAT(preview.pointer->hosts, testing::ElementsAre("feature-a--hello.x.localhost"));
  EXPECT_EQ(b.names.find("hello.x.localhost")->seq, 1u);
  EXPECT_EQ(b.names.find("feature-a--hello.x.localhost")->seq, 2u);
  EXPECT_EQ(b.names.owner_of(kRules, "feature-a--hello.x.localhost")->branch, "feature/A");
  const auto twin = b.move(kAnn, "feature-a", 3, 3, {"hello.x.localhost"});
  EXPECT_EQ(b.code(twin), ErrorCode::already_exists);
  EXPECT_THAT(twin.message, testing::HasSubstr("feature/A"));
  EXPECT_EQ(b.code(b.move(kBob, "dev", 1, 1, {"hello.x.localhost"})), ErrorCode::already_exists);
}

TEST(Names, RulesRefuseWhatCannotBeOwned) {
  EXPECT_FALSE(kRules.hosts_for("main", {"dev--hello.x.localhost"}));
  EXPECT_FALSE(kRules.hosts_for("main", {"x.localhost"}));
  EXPECT_FALSE(kRules.hosts_for("main", {"localhost"}));
  EXPECT_FALSE(kRules.hosts_for("main", {"10.0.0.1"}));
  EXPECT_FALSE(kRules.hosts_for("main", {"Hello.x.localhost"}));
  std::vector<std::string> many;
  for (int i = 0; i < 501; ++i) many.push_back("h" + std::to_string(i) + ".x.localhost");
  EXPECT_FALSE(kRules.hosts_for("main", many));
  EXPECT_EQ(*kRules.name_of("xn.example.com"), "xn.example.com");
  EXPECT_EQ(*kRules.name_of("dev--hello.x.localhost"), "hello.x.localhost");
  for (const char* kept : {"tau.x.localhost", "seer.tau.x.localhost", "dev--tau.x.localhost"})
    EXPECT_FALSE(kRules.name_of(kept)) << kept << " is the network's own";
}

TEST(Names, APointerGoesBackAndOnWhileItsSeqGoesUp) {
  Book b;
  for (int seq = 1; seq <= 3; ++seq) b.move(kAnn, "main", seq, seq, {"hello.x.localhost"});
  const auto back = b.back(kAnn, "main", 3, 1, 1, 4);
  ASSERT_TRUE(back.moved) << back.message;
  EXPECT_EQ(back.pointer->seq, 4u);
  EXPECT_EQ(back.pointer->pushed_seq(), 1u);
  EXPECT_EQ(b.names.find("hello.x.localhost")->deployment, deployment(1));
  const auto again = b.back(kAnn, "main", 3, 1, 1, 4);
  EXPECT_EQ(again.code, 0u) << "the answer got lost";
  EXPECT_FALSE(again.moved);
  // What was pushed before it comes too late, what is pushed after it goes on.
  EXPECT_EQ(b.code(b.move(kAnn, "main", 3, 3, {"hello.x.localhost"}, 9)),
            ErrorCode::failed_precondition);
  EXPECT_TRUE(b.move(kAnn, "main", 5, 5, {"hello.x.localhost"}).moved);
  EXPECT_EQ(b.names.find(kAnn, "main")->pushed_seq(), 5u);
  // Back to what was itself a step back.
  const auto once_more = b.back(kAnn, "main", 5, 4, 1, 6);
  ASSERT_TRUE(once_more.moved) << once_more.message;
  EXPECT_EQ(once_more.pointer->pushed_seq(), 1u);
  std::vector<std::uint64_t> seqs;
  for (const auto& version : b.names.history(kAnn, "main")) seqs.push_back(version.seq);
  EXPECT_THAT(seqs, testing::ElementsAre(6, 5, 4, 3, 2, 1));
  EXPECT_TRUE(b.names.history(kAnn, "main").front().serves);
}

TEST(Names, GoingBackIsRefusedFromElsewhereAndToWhatIsNotKept) {
  Book b;
  for (int seq = 1; seq <= 2; ++seq) b.move(kAnn, "main", seq, seq, {"hello.x.localhost"});
  const Bytes before = b.names.snapshot();
  EXPECT_EQ(b.code(b.back(kAnn, "main", 1, 1, 1, 3)), ErrorCode::failed_precondition) << "from";
  EXPECT_EQ(b.code(b.back(kAnn, "main", 2, 1, 1, 2)), ErrorCode::failed_precondition) << "seq";
  EXPECT_EQ(b.code(b.back(kAnn, "main", 2, 1, 9, 3)), ErrorCode::not_found) << "deployment";
  EXPECT_EQ(b.code(b.back(kAnn, "main", 2, 7, 1, 3)), ErrorCode::not_found) << "version";
  EXPECT_EQ(b.code(b.back(kAnn, "dev", 2, 1, 1, 3)), ErrorCode::not_found) << "branch";
  EXPECT_EQ(b.code(b.back(kBob, "main", 2, 1, 1, 3)), ErrorCode::not_found) << "project";
  EXPECT_EQ(b.names.snapshot(), before);
}

TEST(Names, GoingBackTakesNoHostThatAnswersForAnotherBranchByNow) {
  Book b;
  b.move(kAnn, "feature/a", 1, 1, {"hello.x.localhost"});
  b.move(kAnn, "feature/a", 2, 2, {});
  b.move(kAnn, "feature-a", 1, 3, {"hello.x.localhost"});  // the same preview host
  const auto refused = b.back(kAnn, "feature/a", 2, 1, 1, 3);
  EXPECT_EQ(b.code(refused), ErrorCode::already_exists);
  EXPECT_EQ(b.names.find("feature-a--hello.x.localhost")->branch, "feature-a");
}

TEST(Names, HistoryIsBoundedByCountByBytesAndInAll) {
  Book b;
  for (int seq = 1; seq <= 50; ++seq) b.move(kAnn, "main", seq, seq, {"hello.x.localhost"});
  EXPECT_EQ(b.names.history(kAnn, "main").size(), Names::kHistoryMax + 1);
  EXPECT_EQ(b.names.history(kAnn, "main").back().seq, 30u);
  // 20 KiB of hosts each: three fit 64 KiB.
  std::vector<std::string> hosts;
  for (int i = 0; i < 80; ++i)
    hosts.push_back(std::string(60, 'a') + "." + std::string(60, 'b') + "." + std::string(60, 'c') +
                    ".h" + std::to_string(100 + i) + ".example.com");
  for (int seq = 1; seq <= 6; ++seq) ASSERT_TRUE(b.move(kBob, "main", seq, seq, hosts).moved);
  EXPECT_EQ(b.names.history(kBob, "main").size(), 4u);
  // What is kept longest makes room for all.
  for (int i = 0; i < 340; ++i) {
    const ProjectId project("p" + std::to_string(i));
    std::vector<std::string> own;
    for (int h = 0; h < 80; ++h) own.push_back("p" + std::to_string(i) + "." + hosts[h]);
    for (int seq = 1; seq <= 5; ++seq)
      ASSERT_TRUE(b.move(project, "main", seq, seq, own).moved) << i;
  }
  EXPECT_LE(b.names.history_bytes(), Names::kHistoryBytesMax);
  EXPECT_EQ(b.names.history(kAnn, "main").size(), 1u);
  EXPECT_EQ(b.names.history(ProjectId("p339"), "main").size(), 4u);
}

TEST(Names, OneProjectCannotTakeThemAll) {
  Book b;
  for (std::size_t i = 0; i < Names::kNamesOfProjectMax; ++i)
    ASSERT_EQ(b.claim(kAnn, "h" + std::to_string(i) + ".x.localhost").code, 0u);
  EXPECT_EQ(b.code(b.claim(kAnn, "more.x.localhost")), ErrorCode::resource_exhausted);
  EXPECT_EQ(b.claim(kAnn, "h7.x.localhost").code, 0u);
  EXPECT_EQ(b.claim(kBob, "more.x.localhost").code, 0u);
}

TEST(Names, ASnapshotIsTheWholeState) {
  Book b;
  b.claim(kBob, "bob.x.localhost");
  b.move(kAnn, "main", 3, 3, {"hello.x.localhost", "www.example.com"});
  b.move(kAnn, "dev", 4, 4, {"hello.x.localhost"});
  b.move(kAnn, "main", 5, 5, {"hello.x.localhost", "www.example.com"});
  b.move(kAnn, "dev", 6, 6, {"hello.x.localhost"});
  Book other;
  other.claim(kBob, "gone.x.localhost");
  ASSERT_TRUE(other.names.restore(b.names.snapshot()));
  EXPECT_EQ(other.names.snapshot(), b.names.snapshot());
  EXPECT_EQ(*other.names.find("www.example.com"), *b.names.find("www.example.com"));
  EXPECT_FALSE(other.names.owner_of(kRules, "gone.x.localhost"));
  EXPECT_EQ(other.code(other.move(kAnn, "main", 2, 2, {})), ErrorCode::failed_precondition);
  // Also in what it does next: both keep counting alike.
  for (Book* book : {&b, &other}) {
    book->move(kAnn, "dev", 7, 7, {});
    EXPECT_TRUE(book->back(kAnn, "main", 5, 3, 3, 8).moved);
  }
  EXPECT_EQ(other.names.snapshot(), b.names.snapshot());
  EXPECT_FALSE(other.names.restore(as_bytes("nonsense")));
}

TEST(Names, ALargePublishFitsACommandOfTheGroup) {
  std::vector<std::string> hosts;
  for (std::size_t i = 0; i < kHostsMax; ++i)
    hosts.push_back(std::to_string(100 + i) + std::string(19, 'a') + ".hello.x.localhost");
  auto to = kRules.hosts_for("main", hosts);
  ASSERT_TRUE(to) << to.error().to_string();
  to->pointer.project = kAnn;
  to->pointer.branch = "main";
  to->pointer.seq = 1;
  to->pointer.deployment = deployment(1);
  to->pointer.holders.assign(kHoldersMax, PeerId(std::string(52, 'p')));
  to->proof = Bytes(kPushProofBytesMax, 7);
  const auto names = to->names;
  to->shorten();
  EXPECT_TRUE(to->names.empty());
  Book b;
  const NamesCommand command{std::nullopt, *to};
  EXPECT_LT(codec::to_cbor(command).size(), 48u << 10);
  EXPECT_TRUE(b.run(command).moved);
  EXPECT_EQ(*b.names.proof_of(kAnn, "main"), Bytes(kPushProofBytesMax, 7));
  EXPECT_EQ(b.code(b.claim(kBob, "hello.x.localhost")), ErrorCode::already_exists);
  ASSERT_TRUE(to->expand());
  EXPECT_EQ(to->names, names);
  for (const std::vector<std::uint32_t>& bad :
       {std::vector<std::uint32_t>{}, std::vector<std::uint32_t>(kHostsMax, 1000)}) {
    MovePointer broken = *to;
    broken.pointer.seq = 2;
    broken.names.clear();
    broken.name_at = bad;
    EXPECT_EQ(b.code(b.run({std::nullopt, broken})), ErrorCode::invalid_argument);
  }
}

TEST(Names, ASnapshotFromBeforeProofsIsReadAsWithout) {
  // What version 2 wrote: no "proofs", none in the history.
  Book b;
  b.move(kAnn, "main", 1, 1, {"hello.x.localhost"});
  b.move(kAnn, "main", 2, 2, {"hello.x.localhost"});
  auto saved = *codec::decode(b.names.snapshot());
  auto& map = *saved.as<codec::Value::Map>();
  map.erase("proofs");
  map["version"] = codec::Value(std::int64_t{2});
  Names old;
  ASSERT_TRUE(old.restore(codec::encode(saved)));
  EXPECT_EQ(old.find("hello.x.localhost")->seq, 2u);
  EXPECT_FALSE(old.proof_of(kAnn, "main"));
  EXPECT_EQ(old.snapshot(), b.names.snapshot());
}

TEST(Names, SenselessCommandsAreAnswered) {
  Names names;
  for (const char* text : {"", "\xa0", "junk"}) {
    const auto answer = codec::from_cbor<NamesAnswer>(names.apply(as_bytes(text)));
    ASSERT_TRUE(answer);
    EXPECT_NE(answer->code, 0u);
  }
}

}  // namespace
}  // namespace tau::tns
