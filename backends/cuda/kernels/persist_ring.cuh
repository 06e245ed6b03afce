// The weights that a warp reads in a whole run of operators, brought into shared memory ahead of
// their use: each thread copies what itself will read, so that nobody waits for anybody. What it
// copies does not depend on activations, so it runs ahead across barriers.
#pragma once
#include "backends/cuda/formats/formats.cuh"
#include "backends/cuda/kernels/persist.cuh"

namespace runnel::cuda {

__device__ inline void copy_16(void* to, const void* from) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(to))),
               "l"(from)
               : "memory");
#endif
}
__device__ inline void copy_4(void* to, const void* from) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(to))),
               "l"(from)
               : "memory");
#endif
}
__device__ inline void end_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/// Waits until at most `pending` groups of this thread's copies are under way.
template <int pending>
__device__ void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

/// One thread's slots and how far it has asked.
template <Weight weight>
class Ring {
 public:
  using Shape = RingShape<weight>;
  static constexpr int kMain = Shape::kMain, kAux = Shape::kAux, kSlots = Shape::kSlots;
  static constexpr int kThreads = kPersistThreads;

  __device__ Ring(std::byte* shared, const Feed* feeds, int n_feeds)
      : main_(reinterpret_cast<uint4*>(shared) + threadIdx.x),
        aux_(reinterpret_cast<std::uint32_t*>(shared + 16 * kMain * kSlots * kThreads) +
             threadIdx.x),
        feeds_(feeds),
        n_feeds_(n_feeds) {
    next_feed();
    for (int i = 0; i < kSlots; ++i) ask(i);
  }

  /// The oldest slot is there: main(i) and aux(i) are its words.
  __device__ void wait() const { wait_copies<kSlots - 1>(); }
  __device__ uint4 main(int i) const { return main_[(slot_ * kMain + i) * kThreads]; }
  __device__ std::uint32_t aux(int i) const { return aux_[(slot_ * kAux + i) * kThreads]; }
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
    const std::int64_t unit = std::int64_t{row} * f.units + first;
    const Planes& planes = f.planes[matrix];
    if constexpr (weight == Weight::plain) {
      codes_ = planes.at[0] + unit * 16;
      return;
    }
    codes_ = planes.at[0] + unit * (16 * kMain);
    scales_ = planes.at[2] + unit * f.scales;
    if constexpr (kAux > 1) {
      extra_ = planes.at[1] + unit * f.extra;
      heads_ = planes.at[3] + unit / 8 * f.heads;
    }
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
      uint4* const main = main_ + slot * kMain * kThreads;
      if constexpr (weight == Weight::plain) {
        const int step = lanes_ * 16;
        if (left_ > 0) copy_16(main, codes_);
        if (left_ > lanes_) copy_16(main + kThreads, codes_ + step);
        codes_ += 2 * step;
        left_ -= 2 * lanes_;
      } else {
        if (left_ > 0) ask_packed(main, aux_ + slot * kAux * kThreads);
        codes_ += lanes_ * (16 * kMain);
        left_ -= lanes_;
      }
      if (left_ + static_cast<int>(threadIdx.x) % lanes_ <= 0) next_row();
    }
    end_copies();
  }

  static __device__ const std::uint8_t* word_of(const std::uint8_t* p) {
    return reinterpret_cast<const std::uint8_t*>(reinterpret_cast<std::uintptr_t>(p) &
                                                 ~std::uintptr_t{3});
  }

  /// Fields of less than 4 bytes come with their neighbours.
  __device__ void ask_packed(uint4* main, std::uint32_t* aux) {
    const Feed& f = feeds_[feed_];
#pragma unroll
    for (int i = 0; i < kMain; ++i) copy_16(main + i * kThreads, codes_ + 16 * i);
    copy_4(aux, word_of(scales_));
    scales_ += lanes_ * f.scales;
    if constexpr (kAux > 1) {
      if (f.heads != 0) {
        copy_4(aux + kThreads, word_of(heads_));
        heads_ += lanes_ / 8 * f.heads;
      }
      if (f.extra == 0) return;
      copy_4(aux + 2 * kThreads, extra_);
      if (f.extra > 4) copy_4(aux + 3 * kThreads, extra_ + 4);
      extra_ += lanes_ * f.extra;
    }
  }

  uint4* main_;
  std::uint32_t* aux_;
  const Feed* feeds_;  // in shared memory
  int n_feeds_;
  int feed_ = -1, task_ = 0, part_ = 0;
  int lanes_ = 32, left_ = 0;  // units of the row from this lane's next one on
  const std::uint8_t *codes_ = nullptr, *scales_ = nullptr, *extra_ = nullptr, *heads_ = nullptr;
  int slot_ = 0;
};

}  // namespace runnel::cuda
