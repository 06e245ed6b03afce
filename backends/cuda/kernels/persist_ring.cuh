// The weights that a warp reads in a whole run of operators, brought into shared memory ahead of
// their use: each thread copies what itself will read, so that nobody waits for anybody. What it
// copies does not depend on activations, so it runs ahead across barriers.
#pragma once
#include "backends/cuda/kernels/mma.cuh"
#include "backends/cuda/kernels/persist.cuh"

namespace runnel::cuda {

/// One thread's slots and how far it has asked.
class Ring {
 public:
  static constexpr int kThreads = kPersistThreads;

  __device__ Ring(std::byte* shared, const Feed* feeds, int n_feeds)
      : units_(reinterpret_cast<uint4*>(shared) + threadIdx.x), feeds_(feeds), n_feeds_(n_feeds) {
    next_feed();
    for (int i = 0; i < kSlots; ++i) ask(i);
  }

  /// The oldest slot is there: unit(i) is in it.
  __device__ void wait() const { wait_copies<kSlots - 1>(); }
  __device__ uint4 unit(int i) const { return units_[(slot_ * kSlotUnits + i) * kThreads]; }
  /// The oldest slot was read: the next units take its place.
  __device__ void pass() {
    ask(slot_);
    slot_ = slot_ + 1 == kSlots ? 0 : slot_ + 1;
  }

  static __device__ int first_task() {
    return static_cast<int>(threadIdx.x / 32 * gridDim.x + blockIdx.x);
  }
  static __device__ int n_warps() { return static_cast<int>(gridDim.x) * (kThreads / 32); }

 private:
  __device__ void next_feed() {
    task_ = first_task();
    while (++feed_ < n_feeds_ && task_ >= feeds_[feed_].n_tasks) {
    }
    if (feed_ < n_feeds_) open_row();
  }

  /// The row that follows, from its first unit of this lane on.
  __device__ void open_row() {
    const Feed& f = feeds_[feed_];
    const int lane = threadIdx.x % 32;
    int row = min(task_ * (32 / f.lanes) + lane / f.lanes, f.n_results - 1);
    int matrix = 0;
    if (f.by_matrix) {
      matrix = part_;
    } else if (f.parts > 1) {
      row += part_ * f.part_rows;
    } else {
      while (matrix + 1 < f.n_matrices && row >= f.rows[matrix]) row -= f.rows[matrix++];
    }
    const int first = lane % f.lanes;
    lanes_ = f.lanes;
    left_ = f.units - first;
    next_ = f.values[matrix] + (std::int64_t{row} * f.units + first) * 16;
  }

  /// The next row of the run.
  __device__ void next_row() {
    const Feed& f = feeds_[feed_];
    if (++part_ < f.parts) return open_row();
    part_ = 0;
    task_ += n_warps();
    if (task_ < f.n_tasks) return open_row();
    next_feed();
  }

  /// Asks for this lane's next units. The lanes of a row come to its end together: lane 0 of them
  /// has the most left.
  __device__ void ask(int slot) {
    if (feed_ < n_feeds_) {
      uint4* const to = units_ + slot * kSlotUnits * kThreads;
#pragma unroll
      for (int i = 0; i < kSlotUnits; ++i)
        if (left_ > i * lanes_) copy_16(to + i * kThreads, next_ + i * lanes_ * 16);
      next_ += kSlotUnits * lanes_ * 16;
      left_ -= kSlotUnits * lanes_;
      if (left_ + static_cast<int>(threadIdx.x) % lanes_ <= 0) next_row();
    }
    commit_copies();
  }

  uint4* units_;
  const Feed* feeds_;  // in shared memory
  int n_feeds_;
  int feed_ = -1, task_ = 0, part_ = 0;
  int lanes_ = 32, left_ = 0;  // units of the row from this lane's next one on
  const std::uint8_t* next_ = nullptr;
  int slot_ = 0;
};

}  // namespace runnel::cuda
