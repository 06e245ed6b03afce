#include "runtime/base/thread_pool.h"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>
#include <vector>

using runnel::ThreadPool;

namespace {

constexpr int kMost = 8;

struct Tally {
  ThreadPool* pool = nullptr;
  std::array<int, kMost> visits{};       // one slot per thread: no atomics needed
  std::array<std::size_t, kMost> sum{};  // what each thread read after the barrier
};

void visit(void* context, int thread) {
  static_cast<Tally*>(context)->visits[static_cast<std::size_t>(thread)] += 1;
}

// Every phase each thread writes its slot, and after the barrier reads all the others.
void exchange(void* context, int thread) {
  auto& tally = *static_cast<Tally*>(context);
  const auto self = static_cast<std::size_t>(thread);
  for (int phase = 1; phase <= 50; ++phase) {
    tally.visits[self] = phase;
    tally.pool->barrier();
    for (int other = 0; other < tally.pool->size(); ++other)
      tally.sum[self] += static_cast<std::size_t>(tally.visits[static_cast<std::size_t>(other)]);
    tally.pool->barrier();
  }
}

}  // namespace

TEST_CASE("ThreadPool runs the work once on every thread") {
  for (int n = 1; n <= kMost; ++n) {
    ThreadPool pool(n);
    REQUIRE(pool.size() == n);
    Tally tally;
    for (int round = 0; round < 100; ++round) pool.run(visit, &tally);
    for (int thread = 0; thread < kMost; ++thread)
      CHECK(tally.visits[static_cast<std::size_t>(thread)] == (thread < n ? 100 : 0));
  }
}

TEST_CASE("ThreadPool barrier separates phases, also with more threads than cores") {
  for (int n : {1, 2, 3, kMost}) {
    ThreadPool pool(n);
    Tally tally;
    tally.pool = &pool;
    pool.run(exchange, &tally);
    for (int thread = 0; thread < n; ++thread)
      CHECK(tally.sum[static_cast<std::size_t>(thread)] ==
            static_cast<std::size_t>(n) * 50 * 51 / 2);
  }
}

TEST_CASE("ThreadPool wakes workers that sleep") {
  ThreadPool pool(2);
  Tally tally;
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(4));  // longer than workers spin
    pool.run(visit, &tally);
  }
  CHECK(tally.visits[0] == 5);
  CHECK(tally.visits[1] == 5);
}

TEST_CASE("ThreadPool is made and destroyed without work") {
  for (int round = 0; round < 20; ++round) ThreadPool pool(4);
  CHECK(ThreadPool(-3).size() == 1);
}

TEST_CASE("ThreadPool uses the calling thread as thread 0") {
  ThreadPool pool(3);
  struct Ids {
    std::array<std::thread::id, 3> of;
  } ids;
  pool.run(
      [](void* context, int thread) {
        static_cast<Ids*>(context)->of[static_cast<std::size_t>(thread)] =
            std::this_thread::get_id();
      },
      &ids);
  CHECK(ids.of[0] == std::this_thread::get_id());
  CHECK(ids.of[1] != ids.of[0]);
  CHECK(ids.of[2] != ids.of[1]);
}

TEST_CASE("ThreadPool workers stop spinning soon after the work") {
  ThreadPool pool(2);
  Tally tally;
  pool.run(visit, &tally);
  const std::clock_t before = std::clock();  // processor time of all threads
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const double used = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  CHECK(used < 0.02);  // 2 ms are promised; the rest is for what instrumented builds add
}
