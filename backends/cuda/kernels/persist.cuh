// A run of steps of one token as one kernel: its list of operators, and what a warp needs to know
// of them to ask for their weights ahead. See persist_kernel.cu.
#pragma once
#include "backends/cuda/kernels/attention_split.cuh"
#include "backends/cuda/kernels/matvec.cuh"
#include "backends/cuda/persist.h"

namespace runnel::cuda {

constexpr int kPersistThreads = 512;  // those of matvec, whose way with x is shared

struct EmbedOneArgs {
  const void* values;
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
  const std::uint8_t* values[3];  // of each matrix
  int rows[3];                    // of each
  int units;                      // of a row: 16 bytes
  int n_results, n_tasks, lanes, parts, steps;
  int part_rows;   // from one part's row to the next in matrix 0
  int n_matrices;
  bool by_matrix;  // part i is a row of matrix i
};

/// How much of the weights a thread has under way: `kSlots` times `kSlotUnits` units.
constexpr int kSlotUnits = 2, kSlots = 11;
constexpr std::size_t kRingBytes = std::size_t{kPersistThreads} * kSlots * kSlotUnits * 16;

/// Shared bytes that attention over heads of `dim` channels works in.
constexpr std::size_t attention_shared(std::size_t dim) {
  return 360 * dim;
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

cudaError_t launch_persist(const PersistArgs& args, std::size_t shared, const Launch& launch);

}  // namespace runnel::cuda
