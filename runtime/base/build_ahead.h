// Values by key that take long to build: those that are wanted now are built by all threads, those
// that will be wanted soon are built in the background meanwhile. For compiled shaders.
//   BuildAhead<std::string, Kernel> kernels(compile, on_idle, 4);
//   kernels.expect(of_the_answer);   // returns at once
//   kernels.prepare(of_the_prompt);  // goes first, returns when they are built
//   RUNNEL_ASSIGN(Kernel* const kernel, kernels.get("softmax"));
#pragma once
#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/base/status.h"

namespace runnel {

/// May be used by any thread until stop(). Values stay where they are.
template <class Key, class Value>
class BuildAhead {
 public:
  /// Called by several threads at once, never twice at a time for a key. On an error the value must
  /// be as good as new.
  using Build = std::function<Status(const Key&, Value&)>;

  /// on_idle: called by a thread of the background whenever nothing is left to build.
  BuildAhead(Build build, std::function<void()> on_idle, std::size_t n_threads)
      : build_(std::move(build)), on_idle_(std::move(on_idle)), n_threads_(n_threads) {}
  BuildAhead(const BuildAhead&) = delete;
  BuildAhead& operator=(const BuildAhead&) = delete;
  ~BuildAhead() { stop(); }

  /// Builds what is new here in the background, after all that was asked for earlier.
  void expect(std::span<const Key> keys) {
    const std::lock_guard lock(mutex_);
    for (const Key& key : keys)
      if (const auto [entry, added] = entries_.try_emplace(key); added) queue_.push_back(&*entry);
    wake();
  }

  /// Builds these before anything else, by this thread too. What fails here fails again in get().
  void prepare(std::span<const Key> keys) {
    std::unique_lock lock(mutex_);
    std::vector<Entry*> mine;
    for (const Key& key : keys) {
      Entry& entry = *entries_.try_emplace(key).first;
      if (entry.second.state != State::built) mine.push_back(&entry);
    }
    if (mine.size() > 1) {
      queue_.insert(queue_.begin(), mine.begin(), mine.end());
      wake();
    }
    for (Entry* entry : mine)
      if (entry->second.state == State::waiting) (void)build(*entry, lock);
    for (Entry* entry : mine)
      changed_.wait(lock, [&] { return entry->second.state != State::building; });
  }

  /// The value, built now or awaited when it is not there yet. ERRORS: those of Build.
  Result<Value*> get(const Key& key) {
    std::unique_lock lock(mutex_);
    Entry& entry = *entries_.try_emplace(key).first;
    changed_.wait(lock, [&] { return entry.second.state != State::building; });
    if (entry.second.state == State::waiting) RUNNEL_TRY(build(entry, lock));
    return &entry.second.value;
  }

  /// Drops what nobody has begun and waits for the rest; then every value is as it stays.
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      queue_.clear();
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  /// All that were built, for the owner to free. REQUIRES: stop().
  template <class Visit>
  void visit(Visit visit) {
    for (auto& [key, item] : entries_)
      if (item.state == State::built) visit(item.value);
  }

 private:
  enum class State : unsigned char { waiting, building, built };
  struct Item {
    State state = State::waiting;
    Value value{};
  };
  using Entry = std::pair<const Key, Item>;

  /// REQUIRES: `lock` holds mutex_, and the entry waits.
  Status build(Entry& entry, std::unique_lock<std::mutex>& lock) {
    entry.second.state = State::building;
    lock.unlock();
    Status built = build_(entry.first, entry.second.value);
    lock.lock();
    entry.second.state = built.ok() ? State::built : State::waiting;
    changed_.notify_all();
    return built;
  }

  /// Starts the threads when there is something for them. REQUIRES: mutex_ is held.
  void wake() {
    if (queue_.empty() || stopped_) return;
    while (threads_.size() < n_threads_) threads_.emplace_back([this] { work(); });
    changed_.notify_all();
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stopped_ || !queue_.empty(); });
      if (stopped_) return;
      Entry* const entry = queue_.front();
      queue_.pop_front();
      ++n_working_;
      if (entry->second.state == State::waiting) (void)build(*entry, lock);
      const bool idle = --n_working_ == 0 && queue_.empty();
      if (!idle || stopped_) continue;
      lock.unlock();
      on_idle_();
      lock.lock();
    }
  }

  Build build_;
  std::function<void()> on_idle_;
  std::size_t n_threads_;
  std::mutex mutex_;  // guards all below, but a value that is being built
  std::condition_variable changed_;
  std::map<Key, Item> entries_;
  std::deque<Entry*> queue_;
  std::vector<std::thread> threads_;
  std::size_t n_working_ = 0;
  bool stopped_ = false;
};

}  // namespace runnel
