// What a CUDA step is made of: resolved operands, the launch function of its kernel and its share
// of scratch. Seen by the host compiler and by nvcc.
#pragma once
#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "backends/cuda/device.h"
#include "backends/cuda/layout.h"
#include "backends/cuda/step_data.h"
#include "runtime/graph/graph.h"

namespace runnel::cuda {

/// One input or output of a node in device memory.
struct Operand {
  std::byte* data = nullptr;  // null for states and absent operands
  DType dtype = DType::f32;
  Shape shape;                      // as compiled, for the largest step
  std::int32_t rows_per_token = 0;  // 0: all rows are used in every step
  std::int32_t state_index = -1;
  quant::KvFormat kv = quant::KvFormat::plain;

  bool present() const { return data != nullptr || state_index >= 0; }
  float* f32() const { return reinterpret_cast<float*>(data); }
  std::int32_t* ids() const { return reinterpret_cast<std::int32_t*>(data); }
  int cols() const { return static_cast<int>(shape.cols()); }
  int rows() const { return static_cast<int>(shape.rows()); }
  Rows used() const { return {rows_per_token == 0 ? rows() : 0, rows_per_token}; }
};

/// Where and how launches go.
struct Launch {
  cudaStream_t stream;
  const StepData* step;  // device
  Caps caps;
  bool overlap;  // a kernel may start while the one before it ends
  /// All kernels of the step divide a multiprocessor's memory in the same way: blocks of two of
  /// them are there together only then.
  bool same_division;
};

/// What is done with the sums of a product.
enum class Combine : std::uint8_t {
  rows,    // every row of every matrix is a result
  swiglu,  // silu(row n of matrix 0) * (row n of matrix 1)
  conv,    // rows n, D + n, 2 D + n of matrix 0 are B, C, x of channel n
};

/// Products of one x with up to three matrices, and what is done on the way in and out. Absent
/// operands mean that it is not done.
struct Product {
  Operand x, norm;  // norm: x is rms_norm(x) * norm
  float eps = 0;
  std::array<Operand, 3> w, bias, out;
  int n = 0;  // matrices
  Combine combine = Combine::rows;
  Operand residual;                 // added to the result
  Operand filter, ring, conv_bias;  // of Combine::conv
  Operand expert_ids;
  bool x_ready = false;  // the step before left the same x in scratch, as this kernel reads it
};

inline constexpr RotateAttr kNoTurn{0, quant::Direction::forward, false, false};

struct Step;
using LaunchFn = cudaError_t (*)(const Step& step, const Launch& launch);

/// A node ready to be launched.
struct Step {
  LaunchFn launch = nullptr;
  std::array<Operand, 6> in;
  std::array<Operand, 2> out;
  Attr attr;
  std::int32_t max_tokens = 1;
  std::byte* scratch = nullptr;       // shared by the steps of a segment
  std::uint32_t* counters = nullptr;  // zero before and after every launch
  std::vector<double> constants;      // uploaded when the segment is compiled
  const double* device_constants = nullptr;
  Product product;               // of matrix products
  std::array<Operand, 3> extra;  // of attention with heads to prepare: norms of q and k, factors
  RopeAttr rope;                 // the same
  std::array<RotateAttr, 4> turns{kNoTurn, kNoTurn, kNoTurn, kNoTurn};  // q, k, v, result

  template <class T>
  const T& attr_as() const {
    const T* held = std::get_if<T>(&attr);
    check(held != nullptr, "a node with the attributes of its op");
    return *held;
  }
};

inline constexpr int kCounters = 1024;  // of a segment

}  // namespace runnel::cuda
