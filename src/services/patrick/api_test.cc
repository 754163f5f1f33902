#include "services/patrick/api.h"

#include <gtest/gtest.h>

namespace tau::patrick {
namespace {

template <class T>
std::string hex(const T& record) {
  return to_hex(codec::to_cbor(record));
}

// The wire form is a promise. These bytes were put together by hand from RFC 8949: map heads a0+n,
// text heads 60+n, keys shorter first, then bytewise.
TEST(PatrickApi, BytesOnTheWireStayAsTheyAre) {
  EXPECT_EQ(hex(TakeJob::Request{1000}), "a164776169741903e8");
  // {"bid": {"load": 7, "warm": ["p"], "slots": 2, "memory": 512}, "wait": 0}
  EXPECT_EQ(hex(TakeJob::Request{0, Bid{2, 512, 7, {ProjectId("p")}}}),
            "a263626964a4646c6f616407647761726d81617065736c6f747302666d656d6f7279190200"
            "647761697400");
  // {"fence": 0, "lease": 0}
  EXPECT_EQ(hex(TakeJob::Response{}), "a26566656e636500656c6561736500");
  // {"job": "j", "fence": 2}
  EXPECT_EQ(hex(RenewLease::Request{JobId("j"), 2}), "a2636a6f62616a6566656e636502");
  // {"job": "j", "wait": 9, "fence": 2, "publishing": true}
  EXPECT_EQ(hex(RenewLease::Request{JobId("j"), 2, 9, true}),
            "a4636a6f62616a6477616974096566656e6365026a7075626c697368696e67f5");
  // {"order": {"body": h'01', "signature": h'02'}}
  EXPECT_EQ(hex(CancelJob::Request{{{1}, {2}}}),
            "a1656f72646572a264626f64794101697369676e61747572654102");
  EXPECT_EQ(hex(RetryJob::Request{{{1}, {2}}}), hex(CancelJob::Request{{{1}, {2}}}));
  // {"job": "j", "made": 3}; {"job": "j", "made": 3, "clean": true}
  EXPECT_EQ(hex(CancelOrder{JobId("j"), 3}), "a2636a6f62616a646d61646503");
  EXPECT_EQ(hex(RetryOrder{JobId("j"), true, 3}), "a3636a6f62616a646d6164650365636c65616ef5");
  // {"job": "j", "text": "hi", "fence": 2}
  EXPECT_EQ(hex(AppendLog::Request{JobId("j"), 2, "hi"}),
            "a3636a6f62616a64746578746268696566656e636502");
  // {"job": "j", "error": "e", "fence": 2}
  EXPECT_EQ(hex(FinishJob::Request{JobId("j"), 2, std::nullopt, "e"}),
            "a3636a6f62616a656572726f7261656566656e636502");
  // {"limit": 20, "project": "p"}
  EXPECT_EQ(hex(ListJobs::Request{ProjectId("p"), 20}), "a2656c696d6974146770726f6a6563746170");
  // {"job": "j", "wait": 0, "unless_state": 2}
  EXPECT_EQ(hex(GetJob::Request{JobId("j"), JobState::building, 0}),
            "a3636a6f62616a6477616974006c756e6c6573735f737461746502");
  // {"job": "j", "wait": 0, "offset": 7}
  EXPECT_EQ(hex(ReadLog::Request{JobId("j"), 7, 0}), "a3636a6f62616a647761697400666f666673657407");
  // {"text": "x", "ended": true}
  EXPECT_EQ(hex(ReadLog::Response{"x", true}),
            "a264746578746178"
            "65656e646564f5");
  // {"url": "u"}
  EXPECT_EQ(hex(GitBase::Response{"u"}), "a16375726c6175");
}

TEST(PatrickApi, AJobSurvivesItsEncodingAndStrangersAreRefused) {
  Job job;
  job.id = JobId("j");
  job.project = ProjectId("p");
  job.branch = "main";
  job.seq = 7;
  job.sources["code"] = {std::string(40, 'a'), codec::Cid::of(codec::ContentType::raw, {})};
  const auto bytes = codec::to_cbor(job);
  const auto read = codec::from_cbor<Job>(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(codec::to_cbor(*read), bytes);
  for (std::size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_FALSE(codec::from_cbor<Job>(BytesView(bytes).first(cut))) << cut;
}

TEST(PatrickApi, OnlyMonkeysTakeAndEndJobs) {
  p2p::Certificate monkey, client;
  monkey.roles = {"monkey"};
  client.roles = {"client", "patrick"};
  const auto only_monkeys = [&](const command::Callers& callers) {
    return callers.allow(monkey) && !callers.allow(client);
  };
  EXPECT_TRUE(only_monkeys(TakeJob::kCallers));
  EXPECT_TRUE(only_monkeys(RenewLease::kCallers));
  EXPECT_TRUE(only_monkeys(AppendLog::kCallers));
  EXPECT_TRUE(only_monkeys(FinishJob::kCallers));
  EXPECT_TRUE(GetJob::kCallers.allow(client));
}

TEST(JobState, HasAName) {
  EXPECT_EQ(name_of(JobState::superseded), "superseded");
  EXPECT_EQ(name_of(static_cast<JobState>(99)), "unknown");
}

}  // namespace
}  // namespace tau::patrick
