// A run of steps of one token as one kernel: its list of operators, and what a warp needs to know
// of them to ask for their weights ahead. See persist_kernel.cuh.
#pragma once
#include "backends/cuda/kernels/attention_split.cuh"
#include "backends/cuda/kernels/matvec.cuh"
#include "backends/cuda/persist.h"

namespace runnel::cuda {

constexpr int kPersistThreads = 512;  // those of matvec, whose way with x is shared

struct EmbedOneArgs {
  Planes planes;
  quant::DType type;
  const std::int32_t* ids;
  float* out;
  int n_rows, cols;
};

struct ArgmaxOneArgs {
  const float* x;
  std::int32_t* out;
  int cols;
};

struct CopyArgs {
  const float* x;
  float* out;
  int n;
};

enum class OpKind : std::int32_t { product, attention, embed, copy, argmax };

constexpr int kOpBytes = 400;

/// One operator, as it lies in device memory and, while it runs, in shared memory.
struct alignas(16) PersistOp {
  OpKind kind;
  std::uint32_t* counters;  // of attention
  alignas(16) std::byte args[kOpBytes];

  template <class T>
  __host__ __device__ const T& as() const {
    static_assert(sizeof(T) <= kOpBytes);
    return *reinterpret_cast<const T*>(args);
  }
};

/// The weights of a product, in the order in which warps read them.
struct Feed {
  Planes planes[3];
  int rows[3];  // of each matrix
  int units;    // of a row: 32 packed values, or 16 bytes of plain ones
  int n_results, n_tasks, lanes, parts, steps;
  int part_rows;                                    // from one part's row to the next in matrix 0
  std::uint8_t codes, extra, scales, heads;         // bytes, as in PackedInfo
  std::uint8_t n_matrices, by_matrix, reserved[2];  // by_matrix: part i is a row of matrix i
};

/// How much of the weights a thread has under way, by the bytes of a unit: `kMain` times 16 and
/// `kAux` times 4, `kSlots` units.
template <Weight weight>
struct RingShape;
template <>
struct RingShape<Weight::plain> {
  static constexpr int kMain = 2, kAux = 0, kSlots = 11;
};
template <>
struct RingShape<Weight::bytes> {
  static constexpr int kMain = 2, kAux = 1, kSlots = 10;
};
template <>
struct RingShape<Weight::nibbles> {
  static constexpr int kMain = 1, kAux = 4, kSlots = 11;
};
template <Weight weight>
constexpr std::size_t ring_bytes() {
  using Shape = RingShape<weight>;
  return std::size_t{kPersistThreads} * Shape::kSlots * (16 * Shape::kMain + 4 * Shape::kAux);
}

/// Shared bytes that attention over heads of `dim` channels works in.
constexpr std::size_t attention_shared(std::size_t dim) {
  return 320 * dim;
}

struct Best {
  float value;
  int index;
};

struct PersistArgs {
  const PersistOp* ops;
  const Feed* feeds;
  int n_ops, n_feeds;
  std::uint32_t* counters;  // of the barrier, of argmax and of the end; zero before and after
  Best* best;               // of each block
};

/// Launches a run; one file for each kind of weights.
template <Weight weight>
cudaError_t launch_persist(const PersistArgs& args, std::size_t shared, const Launch& launch);

}  // namespace runnel::cuda
