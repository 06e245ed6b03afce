// The arguments of matvec: rows of matrices times few vectors, and what can be done on the way in
// (norm) and on the way out (sum with a residual, swiglu of two products, short convolution).
#pragma once
#include "backends/cuda/formats/unit.cuh"
#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {

struct Matrix {
  Planes planes;
  int rows;
  int code_bytes, scale_bytes;  // of 32 values
  float* out;                   // [tokens, rows]
  const float* bias;            // [rows] or null
  const float* residual;        // [tokens, rows], added to the result, or null; may be `out`
};

/// The short convolution behind one product, of one token.
struct ConvTail {
  const float *filter, *bias;
  int taps, ring_columns, state;
};

struct MatvecArgs {
  const float* x;     // [tokens, k]
  const float* norm;  // [k]: x is rms_norm(x) * norm; null: x as it is
  float eps;
  int k;
  Matrix matrix[3];
  quant::DType type;  // of all matrices
  int n_matrices;
  bool prefetches;  // weights, before x is there
  int n_results;    // of a token
  Combine combine;
  int lanes;                       // that share a row: 8, 16 or 32
  Rows rows;                       // of results
  const std::int32_t* expert_ids;  // [rows]: which of n_experts matrices; null: there is one
  int rows_per_x, n_experts;
  ConvTail conv;
};

/// What of `w` a product reads; outputs and the rest are the caller's.
inline Matrix matrix_of(const Operand& w, float* out) {
  Matrix m{};
  const PlaneOffsets offsets = plane_offsets(w.dtype, w.shape.elems());
  for (int i = 0; i < kPlanes; ++i)
    m.planes.at[i] = reinterpret_cast<const std::uint8_t*>(w.data) + offsets.at[i];
  const PackedInfo& packed = packed_info(w.dtype);
  m.code_bytes = is_packed(w.dtype) ? packed.codes : kUnit * (w.dtype == DType::f32 ? 4 : 2);
  m.scale_bytes = packed.scales;
  m.rows = static_cast<int>(w.shape.rank == 3 ? w.shape[1] : w.shape[0]);
  m.out = out;
  return m;
}

inline constexpr int kBlocksPerSm = 2;

/// Plain types, as formats are named.
struct PlainF32 {
  static constexpr quant::DType kType = quant::DType::f32;
};
struct PlainF16 {
  static constexpr quant::DType kType = quant::DType::f16;
};
struct PlainBf16 {
  static constexpr quant::DType kType = quant::DType::bf16;
};

/// Types whose products with one row take the weights from shared memory (matvec_held.cuh), where
/// they come faster from there: not the largest of the packed ones, measured on an H200 with q8_0.
constexpr bool holds(quant::DType type) {
  if (type == quant::DType::f16 || type == quant::DType::bf16) return true;
  return multiplies_bytes(type) && packed_info(type).codes <= 32;
}

/// The kernels of one format: instantiated in a file each, because compiling takes long.
template <class Format>
cudaError_t matvec_of(const MatvecArgs& args, int max_rows, const Launch& launch);

/// How many lanes share a row of W.
int lanes_of(int n_results, const Caps& caps);

/// Of a product's step, but for the lanes.
MatvecArgs matvec_args(const Step& step);

/// Chooses lanes and grid. `max_rows`: of the largest step.
cudaError_t launch_matvec(const MatvecArgs& args, int max_rows, const Launch& launch);

}  // namespace runnel::cuda
