// The weights that a warp reads in a whole run of operators, brought into shared memory ahead of
// their use by the copy engine. Every warp has a ring of its own, filled by its own lanes with what
// it will read, so that no warp waits for another. What is copied does not depend on activations,
// so it runs ahead across the barriers between operators.
#pragma once
#include "backends/cuda/formats/formats.cuh"
#include "backends/cuda/kernels/persist.cuh"

namespace runnel::cuda {

__device__ inline unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
__device__ inline void expect_bytes(std::uint64_t* barrier, unsigned bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   shared_address(barrier)),
               "r"(bytes)
               : "memory");
#endif
}
__device__ inline void bulk_copy(void* to,
                                 const void* from,
                                 unsigned bytes,
                                 std::uint64_t* barrier) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
#endif
}
__device__ inline void wait_phase(std::uint64_t* barrier, unsigned phase) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n.reg .pred done;\nwait:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra wait;\n}\n" ::"r"(shared_address(barrier)),
      "r"(phase)
      : "memory");
#endif
}
__device__ inline void make_barriers(std::uint64_t* barriers, int n) {
#if __CUDA_ARCH__ >= 900
  for (int i = 0; i < n; ++i)
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barriers + i)));
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

/// One warp's ring. All lanes know the same but for the row that they ask for: lane 4 r + p asks
/// for plane p of row r of a task.
class Ring {
 public:
  static constexpr int kChunks = 16;  // under way at most

  /// `shared`: of the block: barriers, then rings. REQUIRES: a __syncthreads() before the first
  /// start().
  __device__ Ring(std::byte* shared, int ring_bytes, const Feed* feeds, int n_feeds)
      : barriers_(reinterpret_cast<std::uint64_t*>(shared) + threadIdx.x / 32 * kChunks),
        ring_(shared + barrier_bytes() + threadIdx.x / 32 * static_cast<unsigned>(ring_bytes)),
        feeds_(feeds),
        n_feeds_(n_feeds),
        bytes_(static_cast<unsigned>(ring_bytes)) {
    if (threadIdx.x % 32 == 0) make_barriers(barriers_, kChunks);
    __syncwarp();
  }
  static constexpr std::size_t barrier_bytes() {
    return kPersistThreads / 32 * kChunks * sizeof(std::uint64_t);
  }

  __device__ void start() {
    next_feed();
    fill();
  }
  /// The oldest chunk, of `bytes`: waits for it.
  __device__ const std::byte* take(unsigned bytes) {
    take_ = placed(take_, bytes);
    wait_phase(barriers_ + taken_ % kChunks, taken_ / kChunks & 1);
    return ring_ + take_ % bytes_;
  }
  /// It was read by all lanes: more is asked for.
  __device__ void pass(unsigned bytes) {
    take_ += bytes;
    ++taken_;
    __syncwarp();
    fill();
  }

  static __device__ int first_task() {
    return static_cast<int>(threadIdx.x / 32 * gridDim.x + blockIdx.x);
  }
  static __device__ int n_warps() {
    return static_cast<int>(gridDim.x) * (kPersistThreads / 32);
  }

 private:
  /// Where a chunk begins that does not wrap.
  __device__ unsigned placed(unsigned at, unsigned bytes) const {
    const unsigned offset = at % bytes_;
    return offset + bytes > bytes_ ? at + (bytes_ - offset) : at;
  }

  __device__ void next_feed() {
    task_ = first_task();
    while (++feed_ < n_feeds_ && task_ >= feeds_[feed_].n_tasks) {
    }
    if (feed_ < n_feeds_) open_row();
  }

  /// The rows that follow: `unit_` is the first one of this lane's.
  __device__ void open_row() {
    const Feed& f = feeds_[feed_];
    const int lane = threadIdx.x % 32;
    int row = min(task_ * (32 / f.lanes) + lane / 4, f.n_results - 1);
    int matrix = 0;
    if (f.by_matrix) {
      matrix = part_;
    } else if (f.parts > 1) {
      row += part_ * f.part_rows;
    } else {
      while (matrix + 1 < f.n_matrices && row >= f.rows[matrix]) row -= f.rows[matrix++];
    }
    plane_ = f.planes[matrix].at[lane % 4];
    unit_ = std::int64_t{row} * f.units;
    done_ = 0;
  }

  __device__ void fill() {
    while (feed_ < n_feeds_ && asked_ - taken_ < kChunks) {
      const Feed& f = feeds_[feed_];
      const unsigned bytes = static_cast<unsigned>(f.chunk_bytes);
      const unsigned at = placed(ask_, bytes);
      if (at + bytes - take_ > bytes_) return;
      ask(f, ring_ + at % bytes_);
      ask_ = at + bytes;
      ++asked_;
      advance(f);
    }
  }

  __device__ void advance(const Feed& f) {
    done_ += f.chunk_units;
    if (done_ < f.units) return;
    if (++part_ < f.parts) return open_row();
    part_ = 0;
    task_ += n_warps();
    if (task_ < f.n_tasks) return open_row();
    next_feed();
  }

  /// Whole 16 bytes are copied: what is wanted may begin after the first.
  __device__ void ask(const Feed& f, std::byte* chunk) {
    const int lane = threadIdx.x % 32, plane = lane % 4;
    const std::int64_t first = unit_ + done_, last = first + min(f.chunk_units, f.units - done_) - 1;
    const int each = f.unit_bytes[plane], shift = plane == 3 ? 3 : 0;
    const std::int64_t begin = (first >> shift) * each & ~std::int64_t{15};
    const std::int64_t end = (((last >> shift) + 1) * each + 15) & ~std::int64_t{15};
    const bool copies = lane / 4 < 32 / f.lanes && each > 0;
    const unsigned bytes = copies ? static_cast<unsigned>(end - begin) : 0;
    std::uint64_t* const barrier = barriers_ + asked_ % kChunks;
    const unsigned all = __reduce_add_sync(kAllLanes, bytes);
    if (lane == 0) expect_bytes(barrier, all);
    __syncwarp();
    if (copies)
      bulk_copy(chunk + f.plane_at[plane] + lane / 4 * f.plane_stride[plane], plane_ + begin, bytes,
                barrier);
  }

  std::uint64_t* barriers_;
  std::byte* ring_;
  const Feed* feeds_;  // in shared memory
  int n_feeds_;
  unsigned bytes_, ask_ = 0, take_ = 0;    // bytes of the ring; asked for and taken, ever
  unsigned asked_ = 0, taken_ = 0;         // chunks
  int feed_ = -1, task_ = 0, part_ = 0, done_ = 0;  // units of the row asked for
  const std::uint8_t* plane_ = nullptr;
  std::int64_t unit_ = 0;
};

/// One lane's view of a chunk: its row's planes.
struct Chunk {
  const std::byte *codes, *extra, *scales, *heads;
  unsigned first;  // unit of the row's first here, of the weight

  /// `row` of the weight, `slot` of the task.
  __device__ Chunk(const std::byte* chunk, const Feed& f, unsigned first, int slot) : first(first) {
    const auto plane = [&](int p, unsigned unit) {
      return chunk + f.plane_at[p] + slot * f.plane_stride[p] + (unit * f.unit_bytes[p] & 15u);
    };
    codes = plane(0, first);
    extra = plane(1, first);
    scales = plane(2, first);
    heads = plane(3, first / 8);
  }
  template <class T>
  static __device__ T at(const std::byte* plane, unsigned i) {
    return reinterpret_cast<const T*>(plane)[i];
  }
  __device__ unsigned block(unsigned i) const { return (first + i) / 8 - first / 8; }
};

/// Unit i of a chunk.
template <class Format>
__device__ typename Format::Raw raw_of(const Chunk& c, unsigned i) {
  if constexpr (std::is_same_v<Format, Q8_0>)
    return {Chunk::at<uint4>(c.codes, 2 * i), Chunk::at<uint4>(c.codes, 2 * i + 1),
            Chunk::at<std::uint16_t>(c.scales, i)};
  else if constexpr (std::is_same_v<Format, Q4_0>)
    return {Chunk::at<uint4>(c.codes, i), Chunk::at<std::uint16_t>(c.scales, i)};
  else if constexpr (std::is_same_v<Format, Q4_k>)
    return {Chunk::at<uint4>(c.codes, i), Chunk::at<std::uint16_t>(c.scales, i),
            Chunk::at<std::uint32_t>(c.heads, c.block(i))};
  else if constexpr (std::is_same_v<Format, Q5_k>)
    return {Chunk::at<uint4>(c.codes, i), Chunk::at<std::uint32_t>(c.extra, i),
            Chunk::at<std::uint16_t>(c.scales, i), Chunk::at<std::uint32_t>(c.heads, c.block(i))};
  else if constexpr (std::is_same_v<Format, Q6_k>)
    return {Chunk::at<uint4>(c.codes, i), Chunk::at<uint2>(c.extra, i),
            Chunk::at<std::uint16_t>(c.scales, i), Chunk::at<std::uint16_t>(c.heads, c.block(i))};
  else
    return {Chunk::at<uint4>(c.codes, i), Chunk::at<std::int8_t>(c.scales, i),
            Chunk::at<std::uint16_t>(c.heads, c.block(i))};
}

/// Calls f.template operator()<Format>() with the format of a product's weights.
template <Weight weight, class F>
__device__ void with_weight(quant::DType type, F&& f) {
  if constexpr (weight == Weight::plain) {
    if (type == quant::DType::f16) return f.template operator()<PlainF16>();
    return f.template operator()<PlainBf16>();
  } else if constexpr (weight == Weight::bytes) {
    return f.template operator()<Q8_0>();
  } else {
    switch (type) {
      case quant::DType::q4_0:
        return f.template operator()<Q4_0>();
      case quant::DType::q4_k:
        return f.template operator()<Q4_k>();
      case quant::DType::q5_k:
        return f.template operator()<Q5_k>();
      case quant::DType::q6_k:
        return f.template operator()<Q6_k>();
      default:
        return f.template operator()<Iq4_xs>();
    }
  }
}

}  // namespace runnel::cuda
