// Products of matrices with many rows of x on the tensor cores: f16 operands, f32 sums. Rows of x
// are scaled by a power of two so that they fit f16, weights are decoded into shared memory tile by
// tile while the tile before is multiplied. A block makes kRows x 128 results with 8 warps, in
// steps of 64 of K. For swiglu half of the 128 columns are gate, half up, side by side in every
// warp.
#pragma once
#include "backends/cuda/kernels/gemm_tile.cuh"

namespace runnel::cuda {
namespace {

template <class Row, int kRows, bool kSwiglu>
__global__ void __launch_bounds__(kThreads, 2)
    gemm_kernel(const __grid_constant__ GemmArgs a, const StepData* step) {
  extern __shared__ uint4 shared[];
  __half* const xs = reinterpret_cast<__half*>(shared);  // [kStages][kRows][kStride]
  __half* const ws = xs + kStages * kRows * kStride;     // [2][kCols][kStride]
  begin_step();
  const int n_rows = rows_in_use(a.rows, step), first_row = static_cast<int>(blockIdx.x) * kRows;
  if (first_row >= n_rows) return;
  Row w;
  w.begin(
      [&](int c) {
        bool second;
        const int row = weight_row<kSwiglu>(static_cast<int>(blockIdx.y), c, second);
        return Column{second ? &a.up : &a.w, min(row, a.n - 1)};
      },
      a.k);
  const int all = (a.k + kDepth - 1) / kDepth, each = (all + a.splits - 1) / a.splits;
  const int begin = static_cast<int>(blockIdx.z) * each, end = min(begin + each, all);
  const auto copy = [&](int tile) {
    if (tile < end)
      copy_x<kRows>(a, xs + tile % kStages * kRows * kStride, first_row, tile * kDepth);
    else
      commit_copies();
  };
  float acc[kRows / 32][4][4] = {};
  // Two tiles of W are under way in registers, two of x in shared memory.
  w.template fetch<0>(begin);
  w.template fetch<1>(min(begin + 1, all - 1));
  copy(begin);
  copy(begin + 1);
  const auto one = [&](auto parity, int tile) {
    constexpr int kParity = decltype(parity)::value;
    __half* const to = ws + kParity * kCols * kStride;
    w.template store<kParity>(to, kStride);
    w.template fetch<kParity>(min(tile + 2, all - 1));
    wait_copies<1>();
    __syncthreads();
    copy(tile + 2);
    multiply_tile<kRows>(xs + tile % kStages * kRows * kStride, to, acc);
  };
  for (int tile = begin; tile < end; tile += 2) {
    one(std::integral_constant<int, 0>{}, tile);
    if (tile + 1 < end) one(std::integral_constant<int, 1>{}, tile + 1);
  }
  write_results<kRows, kSwiglu>(a, acc, first_row, n_rows);
}

template <class Row, int kRows, bool kSwiglu>
cudaError_t run(const GemmArgs& args, int max_rows, const Launch& launch) {
  const int per_block = kSwiglu ? kCols / 2 : kCols;
  return start(launch, gemm_kernel<Row, kRows, kSwiglu>,
               grid_of(ceil_div(max_rows, kRows), ceil_div(args.n, per_block), args.splits),
               kThreads, std::size_t(kStages * kRows + 2 * kCols) * kStride * sizeof(__half), args,
               launch.step);
}

/// Adds the splits up, in their order.
__global__ void sum_splits(const __grid_constant__ GemmArgs a, const StepData* step) {
  begin_step();
  const std::int64_t n = std::int64_t{rows_in_use(a.rows, step)} * a.n;
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  float value = 0;
  for (int s = 0; s < a.splits; ++s) value += a.partial[std::int64_t{s} * a.max_rows * a.n + i];
  if (a.bias != nullptr) value += a.bias[i % a.n];
  if (a.residual != nullptr) value = a.residual[i] + value;
  a.out[i] = value;
}

template <bool kSwiglu>
cudaError_t run_step(const Step& step, const Launch& launch) {
  const Operand &x = step.product.x, &w = step.product.w[0], &out = step.product.out[0];
  const int k = w.cols(), padded = (k + kDepth - 1) / kDepth * kDepth, max_rows = x.rows();
  const std::int64_t rows = ceil_div(max_rows, kMostRows) * kMostRows;
  auto* halves = reinterpret_cast<__half*>(step.scratch);
  auto* scales = reinterpret_cast<float*>(halves + rows * padded);
  cudaError_t error = to_half({x.f32(), halves, scales, k, padded, max_rows, x.used()}, launch);
  if (error != cudaSuccess) return error;
  GemmArgs args{};
  args.x = halves;
  args.scales = scales;
  args.w = matrix_of(w, nullptr).planes;
  if (kSwiglu) args.up = matrix_of(step.product.w[1], nullptr).planes;
  args.out = out.f32();
  args.bias = step.product.bias[0].f32();
  args.residual = step.product.residual.f32();
  args.n = static_cast<int>(w.shape[0]);
  args.k = k;
  args.padded_k = padded;
  args.rows = x.used();
  args.partial = scales + rows;
  args.max_rows = max_rows;
  const std::int64_t columns = ceil_div(args.n, kSwiglu ? kCols / 2 : kCols);
  const bool wide = max_rows > 64 && ceil_div(max_rows, 128) * columns >= launch.caps.n_sms;
  const std::int64_t blocks = ceil_div(max_rows, wide ? 128 : 64) * columns;
  args.splits = !kSwiglu && !wide && blocks * 3 <= launch.caps.n_sms * 4 ? kMostGemmSplits : 1;
  error = with_row(w.dtype, [&]<class Row>() {
    return wide ? run<Row, 128, kSwiglu>(args, max_rows, launch)
                : run<Row, 64, kSwiglu>(args, max_rows, launch);
  });
  if (error != cudaSuccess || args.splits == 1) return error;
  return start(launch, sum_splits, grid_of(ceil_div(std::int64_t{max_rows} * args.n, kThreads)),
               kThreads, 0, args, launch.step);
}

}  // namespace

}  // namespace runnel::cuda
