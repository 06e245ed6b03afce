#include "runtime/base/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

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

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
#endif
  return cpus;
}

int read_int(const std::string& path, int fallback) {
  std::ifstream file(path);
  int value = fallback;
  if (!(file >> value)) return fallback;
  return value;
}

// CPUs' worth of time per period, or 0 without a limit. SOURCE: Linux cgroup-v2.rst, "cpu.max".
int quota_of(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  std::string quota;
  long long period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
  const long long microseconds = std::strtoll(quota.c_str(), nullptr, 10);
  if (microseconds <= 0) return 0;
  return static_cast<int>(std::clamp<long long>(microseconds / period, 1, kMaxThreads));
}

// The smallest limit of this process's cgroup and its parents, or 0 without a limit.
int cgroup_cpus() {
  int limit = 0;
  const auto tighten = [&limit](int cpus) {
    if (cpus > 0 && (limit == 0 || cpus < limit)) limit = cpus;
  };
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("0::", 0) != 0) continue;
    for (std::string path = line.substr(3); !path.empty();) {
      tighten(quota_of("/sys/fs/cgroup" + (path == "/" ? "" : path)));
      const std::size_t slash = path.rfind('/');
      path = slash == std::string::npos ? "" : path.substr(0, slash);
    }
  }
  tighten(quota_of("/sys/fs/cgroup"));
  const int quota = read_int("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", -1);  // cgroup v1
  const int period = read_int("/sys/fs/cgroup/cpu/cpu.cfs_period_us", 0);
  if (quota > 0 && period > 0) tighten(std::max(1, quota / period));
  return limit;
}

// Hardware threads that may run at the same time, at least 1.
int logical_cpus() {
  int n = static_cast<int>(allowed_cpus().size());
  if (const int limit = cgroup_cpus(); limit > 0) n = std::min(n, limit);
  return std::max(1, n);
}

}  // namespace

int physical_cores() {
  std::set<std::pair<int, int>> cores;  // (package, core)
  for (int cpu : allowed_cpus()) {
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    cores.insert({read_int(folder + "physical_package_id", 0), read_int(folder + "core_id", cpu)});
  }
  int n = static_cast<int>(cores.size());
  if (const int limit = cgroup_cpus(); limit > 0) n = std::min(n, limit);
  return std::clamp(n, 1, kMaxThreads);
}

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
