#include "runtime/base/build_ahead.h"

#include <atomic>
#include <set>
#include <string>

#include <doctest/doctest.h>

namespace runnel {
namespace {

/// Builds the squares of numbers; waits at a number until it is told to go on.
struct Squares {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<int> order;      // in which they were begun
  std::set<int> held, broken;  // wait; fail
  std::atomic<int> n_idle{0};
  BuildAhead<int, int> table;

  explicit Squares(std::size_t n_threads)
      : table([this](const int& key, int& value) { return build(key, value); },
              [this] {
                ++n_idle;
                changed.notify_all();
              },
              n_threads) {}
  Status build(int key, int& value) {
    std::unique_lock lock(mutex);
    order.push_back(key);
    changed.notify_all();
    changed.wait(lock, [&] { return !held.contains(key); });
    if (broken.contains(key)) return {Code::internal, "no square of " + std::to_string(key)};
    value = key * key;
    return {};
  }
  void release(int key) {
    const std::lock_guard lock(mutex);
    held.erase(key);
    changed.notify_all();
  }
  void mend() {
    const std::lock_guard lock(mutex);
    broken.clear();
  }
  void await_begin(int key) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return std::ranges::find(order, key) != order.end(); });
  }
  std::vector<int> begun() {
    const std::lock_guard lock(mutex);
    return order;
  }
  void await_idle() const {
    while (n_idle == 0) std::this_thread::yield();
  }
};

}  // namespace

TEST_CASE("BuildAhead: what is expected is built in the background, once") {
  Squares squares(1);
  const int keys[] = {2, 3, 2};
  squares.table.expect(keys);
  squares.await_idle();
  CHECK(squares.begun() == std::vector<int>{2, 3});
  CHECK(**squares.table.get(3) == 9);
  squares.table.prepare(keys);
  CHECK(squares.begun() == std::vector<int>{2, 3});
}

TEST_CASE("BuildAhead: what is wanted now does not wait for what is expected") {
  Squares squares(1);
  squares.held = {2};
  const int expected[] = {2, 3, 4}, wanted[] = {7, 8};
  squares.table.expect(expected);
  squares.await_begin(2);  // and holds the only thread there
  squares.table.prepare(wanted);
  CHECK(squares.begun() == std::vector<int>{2, 7, 8});
  CHECK(**squares.table.get(4) == 16);  // taken from the queue
  CHECK(squares.begun() == std::vector<int>{2, 7, 8, 4});
  squares.release(2);
  CHECK(**squares.table.get(2) == 4);
}

TEST_CASE("BuildAhead: an error in the background is that of whoever uses the value") {
  Squares squares(1);
  squares.broken = {5};
  const int keys[] = {5};
  squares.table.expect(keys);
  squares.await_idle();
  squares.table.prepare(keys);
  CHECK(squares.table.get(5).status().message() == "no square of 5");
  squares.mend();
  CHECK(**squares.table.get(5) == 25);  // a second try may have more luck
}

TEST_CASE("BuildAhead: its end waits for what has begun and drops the rest") {
  bool dropped = false;
  for (int tries = 0; tries < 100 && !dropped; ++tries) {  // the release may come before the stop
    Squares squares(1);
    squares.held = {2};
    const int keys[] = {2, 3};
    squares.table.expect(keys);
    squares.await_begin(2);
    std::thread later([&] { squares.release(2); });
    squares.table.stop();
    later.join();
    std::size_t n_built = 0;
    squares.table.visit([&](int) { ++n_built; });
    CHECK(n_built == squares.begun().size());
    dropped = squares.begun() == std::vector<int>{2};
  }
  CHECK(dropped);
}

TEST_CASE("BuildAhead: many threads get what they ask for") {
  Squares squares(3);
  std::vector<int> keys;
  for (int i = 0; i < 200; ++i) keys.push_back(i % 50);
  squares.table.expect(keys);
  std::vector<std::thread> threads;
  std::atomic<int> n_wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      squares.table.prepare(std::span(keys).subspan(static_cast<std::size_t>(t) * 30, 40));
      for (const int key : keys)
        if (const auto value = squares.table.get(key); !value.ok() || **value != key * key)
          ++n_wrong;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(n_wrong == 0);
  CHECK(squares.begun().size() == 50);
}

}  // namespace runnel
