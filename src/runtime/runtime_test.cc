#include <gtest/gtest.h>

#include <string>

#include "runtime/channel.h"
#include "runtime/loop.h"
#include "runtime/task_group.h"
#include "runtime/thread_pool.h"

namespace tau::runtime {
namespace {

using namespace std::chrono_literals;

Task<Result<int>> after(Duration d, int value) {
  CO_TRY_STATUS(sleep_for(d));
  co_return value;
}

TEST(Loop, VirtualTimeJumpsToTheNextTimer) {
  VirtualLoop loop;
  const auto before = loop.now();
  EXPECT_EQ(*block_on(loop, after(1h, 7)), 7);
  EXPECT_EQ(loop.now() - before, 1h);
}

TEST(Loop, RealTimersFire) {
  RealLoop loop;
  EXPECT_EQ(*block_on(loop, after(2ms, 7)), 7);
}

TEST(Deadline, CutsALongTaskAndSaysWhatItWasDoing) {
  VirtualLoop loop;
  auto r = block_on(loop, with_deadline(10ms, "reading a block", after(1h, 1)));
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), ErrorCode::deadline_exceeded);
  EXPECT_EQ(r.error().message(), "reading a block took longer than 10 ms");
  EXPECT_EQ(*block_on(loop, with_deadline(10ms, "x", after(5ms, 3))), 3);
}

TEST(Deadline, AnOuterDeadlineCutsThroughAnInnerOne) {
  VirtualLoop loop;
  auto r = block_on(loop, with_deadline(5ms, "outer", with_deadline(1h, "inner", after(2h, 1))));
  EXPECT_EQ(r.error().message(), "outer took longer than 5 ms");
}

TEST(TaskGroup, StopCancelsAndAwaitsEveryTask) {
  VirtualLoop loop;
  TaskGroup group(loop);
  int ended = 0;
  for (int i = 0; i < 3; ++i)
    group.spawn([](int& n) -> Task<void> {
      auto r = co_await sleep_for(24h);
      EXPECT_EQ(r.error().code(), ErrorCode::cancelled);
      ++n;
    }(ended));
  EXPECT_EQ(group.running(), 3u);
  block_on(loop, group.stop());
  EXPECT_EQ(ended, 3);
  block_on(loop, group.stop());
}

TEST(OneShot, AValueThatComesAfterCancellationIsDropped) {
  VirtualLoop loop;
  OneShot<int> never(loop);
  auto r = block_on(loop, with_deadline(1ms, "waiting", [](OneShot<int> o) -> Task<Result<int>> {
                      co_return co_await o;
                    }(never)));
  EXPECT_EQ(r.error().code(), ErrorCode::deadline_exceeded);
  never.set(3);
}

TEST(Channel, GivesItsValuesInOrderAndHoldsTheSenderWhenFull) {
  VirtualLoop loop;
  Channel<int> channel(loop, 2);
  TaskGroup group(loop);
  group.spawn([](Channel<int>& c) -> Task<void> {
    for (int i = 0; i < 10; ++i) (void)co_await c.send(i);
    c.close();
  }(channel));
  EXPECT_EQ(channel.size(), 2u);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(*block_on(loop, channel.receive()), i);
  EXPECT_EQ(block_on(loop, channel.receive()).error().code(), ErrorCode::unavailable);
  block_on(loop, group.join());
}

TEST(Semaphore, NeverHasMoreHoldersThanPermits) {
  VirtualLoop loop;
  Semaphore semaphore(loop, 2);
  TaskGroup group(loop);
  int inside = 0, most = 0;
  for (int i = 0; i < 6; ++i)
    group.spawn([](Semaphore& s, int& in, int& top) -> Task<void> {
      auto permit = co_await s.acquire();
      top = std::max(top, ++in);
      (void)co_await sleep_for(1ms);
      --in;
    }(semaphore, inside, most));
  block_on(loop, group.join());
  EXPECT_EQ(most, 2);
}

TEST(ThreadPool, RunsWorkAwayFromTheLoopAndOnItWithoutThreads) {
  RealLoop loop;
  ThreadPool pool(2);
  const auto here = std::this_thread::get_id();
  auto elsewhere = [&](ThreadPool& p) {
    return block_on(loop, [](ThreadPool& q) -> Task<std::thread::id> {
      co_return co_await q.run([] { return std::this_thread::get_id(); });
    }(p));
  };
  EXPECT_NE(elsewhere(pool), here);
  ThreadPool none(0);
  EXPECT_EQ(elsewhere(none), here);
}

}  // namespace
}  // namespace tau::runtime
