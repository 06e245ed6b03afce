#include "backends/cpu/ceilings.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/backend/host_buffer.h"

namespace runnel::cpu {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Far more than any L3; what one pass reads is not what the next one reads.
constexpr std::int64_t kReadBytes = std::int64_t{512} << 20;
constexpr std::int64_t kBurstBytes = std::int64_t{1} << 20;  // read between looks at the clock
constexpr std::int64_t kBurstFloats = kBurstBytes / static_cast<std::int64_t>(sizeof(float));
constexpr std::int64_t kAheadFloats = 256;    // or none: which is faster depends on the processor
constexpr std::int64_t kBurstRounds = 20000;  // about 0.1 ms
// Many short passes: other programs leave some of them alone.
constexpr int kPasses = 16;
constexpr auto kReadPass = milliseconds(15);
constexpr auto kComputePass = milliseconds(4);

/// Work done by one short burst of one thread: bytes or operations.
using Burst = std::function<std::int64_t(int thread)>;

/// Every thread does bursts for the same time; the sum of their rates is what counts.
class Race {
 public:
  Race(ThreadPool& pool, Burst burst, milliseconds length)
      : pool_(pool),
        burst_(std::move(burst)),
        length_(length),
        rates_(static_cast<std::size_t>(pool.size())) {}

  /// Work per second, the best of the passes.
  double best() {
    double best = 0;
    for (int pass = 0; pass < kPasses; ++pass) {
      pool_.run(&Race::run_thread, this);
      double sum = 0;
      for (const double rate : rates_) sum += rate;
      best = std::max(best, sum);
    }
    return best;
  }

 private:
  static void run_thread(void* argument, int thread) {
    Race& self = *static_cast<Race*>(argument);
    self.pool_.barrier();
    const Clock::time_point start = Clock::now();
    Clock::time_point now = start;
    double work = 0;
    while (now - start < self.length_) {
      work += static_cast<double>(self.burst_(thread));
      now = Clock::now();
    }
    self.rates_[static_cast<std::size_t>(thread)] =
        work / std::chrono::duration<double>(now - start).count();
  }

  ThreadPool& pool_;
  Burst burst_;
  milliseconds length_;
  std::vector<double> rates_;
};

/// Each thread reads its own part of a large buffer, round and round.
class Reader {
 public:
  Reader(const CeilingLoops& loops, ThreadPool& pool, float* data)
      : loops_(loops),
        pool_(pool),
        bursts_(kReadBytes / kBurstBytes / pool.size()),
        data_(data),
        next_(static_cast<std::size_t>(pool.size())) {
    pool_.run(&Reader::fill, this);
  }

  double best() {
    double best = 0;
    for (const std::int64_t ahead : {kAheadFloats, std::int64_t{0}}) {
      ahead_ = ahead;
      Race race(
          pool_, [this](int thread) { return read(thread); }, kReadPass);
      best = std::max(best, race.best());
    }
    return best;
  }

 private:
  /// A part's first burst; each thread's state has a cache line of its own.
  struct alignas(64) Place {
    std::int64_t burst = 0;
    float sum = 0;
  };

  float* burst(int thread, std::int64_t index) const {
    return data_ + (thread * bursts_ + index) * kBurstFloats;
  }
  // Memory that was never written is one page of zeros, and lies near the thread that wrote it.
  static void fill(void* argument, int thread) {
    const Reader& self = *static_cast<const Reader*>(argument);
    std::fill_n(self.burst(thread, 0), self.bursts_ * kBurstFloats, 1.0f);
  }
  std::int64_t read(int thread) {
    Place& place = next_[static_cast<std::size_t>(thread)];
    place.sum += loops_.read(burst(thread, place.burst), kBurstFloats, ahead_);
    place.burst = (place.burst + 1) % bursts_;
    return kBurstBytes;
  }

  const CeilingLoops& loops_;
  ThreadPool& pool_;
  std::int64_t bursts_;     // of each thread
  std::int64_t ahead_ = 0;  // floats
  float* data_;
  std::vector<Place> next_;
};

double best_ops(ThreadPool& pool, std::int64_t (*loop)(std::int64_t)) {
  if (loop(1) == 0) return 0;
  Race race(
      pool, [loop](int) { return loop(kBurstRounds); }, kComputePass);
  return race.best();
}

}  // namespace

Result<Ceilings> measure_ceilings(const CeilingLoops& loops, ThreadPool& pool) {
  Ceilings result;
  {
    RUNNEL_ASSIGN(const std::unique_ptr<Buffer> buffer,
                  HostBuffer::allocate(static_cast<std::size_t>(kReadBytes)));
    Reader reader(loops, pool, reinterpret_cast<float*>(buffer->host()));
    result.read_bytes = reader.best();
  }
  result.int8_ops = best_ops(pool, loops.int8);
  result.bf16_ops = best_ops(pool, loops.bf16);
  result.f32_ops = best_ops(pool, loops.f32);
  return result;
}

}  // namespace runnel::cpu
