#include "runtime/base/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "runtime/base/cores.h"
#include "runtime/base/status.h"

namespace runnel {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kIdleSpin = std::chrono::microseconds(1500);  // then the worker sleeps
constexpr unsigned kSpinsPerClockCheck = 64;
// A barrier is normally microseconds away; longer means that a thread lost its core.
constexpr unsigned kBarrierSpins = 4096;
constexpr int kMaxThreads = 1024;

void pause_core() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

struct ThreadPool::Impl {
  // Each word that threads spin on has its own cache line.
  alignas(64) std::atomic<std::uint32_t> epoch{0};  // one more per run(); workers wait on it
  alignas(64) std::atomic<int> busy_workers{0};
  alignas(64) std::atomic<int> arrived{0};  // barrier: threads that have come
  alignas(64) std::atomic<std::uint32_t> phase{0};
  alignas(64) Work work = nullptr;  // null: stop
  void* context = nullptr;
  int n_threads = 1;
  unsigned barrier_spins = kBarrierSpins;
  bool spin_when_idle = true;
  struct Worker {
    Impl* impl;
    int index;
    pthread_t handle;
  };
  std::vector<Worker> workers;

  void publish(Work next, void* next_context) {
    work = next;
    context = next_context;
    busy_workers.store(n_threads - 1, std::memory_order_relaxed);
    epoch.fetch_add(1, std::memory_order_seq_cst);
    epoch.notify_all();
  }

  void await_workers() {
    for (unsigned spins = 0; busy_workers.load(std::memory_order_acquire) != 0; ++spins)
      rest(spins);
  }

  void rest(unsigned spins) const {
    if (spins < barrier_spins) {
      pause_core();
    } else {
      sched_yield();
    }
  }

  std::uint32_t await_epoch_after(std::uint32_t seen) {
    if (spin_when_idle) {
      const Clock::time_point start = Clock::now();
      for (unsigned spins = 1;; ++spins) {
        const std::uint32_t now = epoch.load(std::memory_order_acquire);
        if (now != seen) return now;
        pause_core();
        if (spins % kSpinsPerClockCheck == 0 && Clock::now() - start > kIdleSpin) break;
      }
    }
    epoch.wait(seen, std::memory_order_acquire);
    return epoch.load(std::memory_order_acquire);
  }

  void work_loop(int index) {
    for (std::uint32_t seen = 0;;) {
      seen = await_epoch_after(seen);
      if (work == nullptr) return;
      work(context, index);
      busy_workers.fetch_sub(1, std::memory_order_release);
    }
  }

  static void* enter(void* argument) {
    const Worker* self = static_cast<const Worker*>(argument);
    self->impl->work_loop(self->index);
    return nullptr;
  }
};

ThreadPool::ThreadPool(int n_threads) : impl_(std::make_unique<Impl>()) {
  const int wanted = std::clamp(n_threads, 1, kMaxThreads);
  if (wanted > logical_cpus()) {  // set before the workers start: they read it
    impl_->barrier_spins = 16;
    impl_->spin_when_idle = false;
  }
  // Never reallocated: the threads keep pointers into it.
  impl_->workers.reserve(static_cast<std::size_t>(wanted));
  for (int index = 1; index < wanted; ++index) {
    Impl::Worker& worker = impl_->workers.emplace_back(Impl::Worker{impl_.get(), index, {}});
    if (pthread_create(&worker.handle, nullptr, &Impl::enter, &worker) != 0) {
      impl_->workers.pop_back();  // the system allows no more: work with those we have
      break;
    }
  }
  impl_->n_threads = static_cast<int>(impl_->workers.size()) + 1;
}

ThreadPool::~ThreadPool() {
  impl_->publish(nullptr, nullptr);
  for (const Impl::Worker& worker : impl_->workers) pthread_join(worker.handle, nullptr);
}

int ThreadPool::size() const {
  return impl_->n_threads;
}

void ThreadPool::run(Work work, void* context) {
  check(work != nullptr, "ThreadPool::run needs a function");
  if (impl_->n_threads > 1) impl_->publish(work, context);
  work(context, 0);
  if (impl_->n_threads > 1) impl_->await_workers();
}

void ThreadPool::barrier() {
  Impl& impl = *impl_;
  if (impl.n_threads == 1) return;
  const std::uint32_t phase = impl.phase.load(std::memory_order_relaxed);
  if (impl.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == impl.n_threads) {
    impl.arrived.store(0, std::memory_order_relaxed);
    impl.phase.store(phase + 1, std::memory_order_release);
    return;
  }
  for (unsigned spins = 0; impl.phase.load(std::memory_order_acquire) == phase; ++spins)
    impl.rest(spins);
}

}  // namespace runnel
