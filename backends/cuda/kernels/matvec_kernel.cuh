// Products of matrices with few rows of x: bound by reading the weights once. 8 to 32 lanes share a
// row of W, so that a warp always has whole cache lines under way; every block keeps x in shared
// memory. A result depends neither on the number of tokens nor on the grid.
#pragma once
#include "backends/cuda/kernels/matvec_held.cuh"

namespace runnel::cuda {
namespace {

template <class Format, int kTokens, Combine combine>
__device__ void compute(const MatvecArgs& a,
                        const typename Weights<Format>::template X<kTokens>& x,
                        const RowScales<kTokens>& scale,
                        int result,
                        int first_row,
                        int n_rows,
                        std::int64_t expert,
                        const StepData* step) {
  const int sub = threadIdx.x % a.lanes;
  const bool valid = result < a.n_results;
  const Place place = place_of(a, valid ? result : a.n_results - 1);
  const Matrix& m = a.matrix[place.matrix];
  const std::int64_t row = expert * m.rows + place.row;
  const bool writes = valid && sub == 0;
  const int stride = combine == Combine::conv ? m.rows / 3 : m.rows;
  Taps taps{};
  if constexpr (combine == Combine::conv)
    if (writes) taps.load(a, place.row, step);
  float added[kTokens] = {};  // bias and residual
#pragma unroll
  for (int t = 0; t < kTokens; ++t)
    if (writes && first_row + t < n_rows && m.residual != nullptr)
      added[t] = m.residual[std::int64_t{first_row + t} * stride + place.row];
  const float bias = writes && m.bias != nullptr ? m.bias[place.row] : 0.0f;
  float first[kTokens] = {}, second[kTokens] = {}, third[kTokens] = {};
  Weights<Format>::dot(m.planes, row, a.k, x, sub, a.lanes, first);
  if constexpr (combine == Combine::swiglu)
    Weights<Format>::dot(a.matrix[1].planes, row, a.k, x, sub, a.lanes, second);
  if constexpr (combine == Combine::conv) {
    Weights<Format>::dot(m.planes, row + m.rows / 3, a.k, x, sub, a.lanes, second);
    Weights<Format>::dot(m.planes, row + 2 * (m.rows / 3), a.k, x, sub, a.lanes, third);
    reduce(third, a.lanes);
  }
  __syncwarp();
  reduce(first, a.lanes);
  if constexpr (combine != Combine::rows) reduce(second, a.lanes);
  if (!writes) return;
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    if (first_row + t >= n_rows) break;
    float value = first[t] * scale.of[t];
    if constexpr (combine == Combine::swiglu) value = silu(value) * (second[t] * scale.of[t]);
    if constexpr (combine == Combine::conv)
      value = taps.convolve(a.conv.taps, value, second[t] * scale.of[t], third[t] * scale.of[t]);
    m.out[std::int64_t{first_row + t} * stride + place.row] = added[t] + (value + bias);
  }
}

/// Before x is there: the beginning of what this warp reads first.
__device__ void prefetch_weights(const MatvecArgs& a, int result) {
  if (!a.prefetches || result >= a.n_results) return;
  constexpr int kMost = 8192;
  const int per_warp = 32 / a.lanes;
  const Place place = place_of(a, result);
  const int n_parts = a.combine == Combine::swiglu ? 2 : a.combine == Combine::conv ? 3 : 1;
  for (int part = 0; part < n_parts; ++part) {
    const Matrix& m = a.matrix[a.combine == Combine::swiglu ? part : place.matrix];
    const std::int64_t row =
        place.row + (a.combine == Combine::conv ? std::int64_t{part} * (m.rows / 3) : 0);
    const std::int64_t units = a.k / kUnit;
    const std::int64_t bytes = m.code_bytes * units;
    prefetch(m.planes.at[0] + row * bytes, min(per_warp * bytes, std::int64_t{kMost / n_parts}));
    const std::int64_t scales = m.scale_bytes * units;
    if (scales > 0)
      prefetch(m.planes.at[2] + row * scales, min(per_warp * scales, std::int64_t{kMost}));
  }
}

template <class Format, int kTokens, Combine combine>
__global__ void __launch_bounds__(kMatvecThreads, 2)
    matvec_kernel(const __grid_constant__ MatvecArgs a, const StepData* step) {
  extern __shared__ uint4 shared[];
  allow_next();
  prefetch_weights(a, (static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32) *
                          (32 / a.lanes));
  // The step's data was there before the first kernel began; weights are there always.
  const int n_rows = rows_in_use(a.rows, step), first_row = static_cast<int>(blockIdx.y) * kTokens;
  RowPart<> norm;
  if (a.norm != nullptr && fits_registers(a.k)) norm.load(a.norm, a.k);
  wait_previous();
  if (first_row >= n_rows) return;
  std::int64_t expert = 0;
  if (a.expert_ids != nullptr) {
    expert = a.expert_ids[first_row];
    if (expert < 0 || expert >= a.n_experts) {
      if (threadIdx.x == 0) *step->failure = static_cast<std::int32_t>(Failure::expert_id);
      return;
    }
  }
  using X = typename Weights<Format>::template X<kTokens>;
  X x(reinterpret_cast<std::byte*>(shared), a.k);
  const RowScales<kTokens> scale = load_x<X, kTokens>(x, a, norm, first_row, n_rows);
  const int per_warp = 32 / a.lanes, lane = threadIdx.x % 32;
  const int n_warps = static_cast<int>(gridDim.x) * kWarps;
  for (int w = static_cast<int>(blockIdx.x) * kWarps + threadIdx.x / 32; w * per_warp < a.n_results;
       w += n_warps)
    compute<Format, kTokens, combine>(a, x, scale, w * per_warp + lane / a.lanes, first_row, n_rows,
                                      expert, step);
}

template <class Format, int kTokens, Combine combine>
cudaError_t run(const MatvecArgs& args, int max_rows, const Launch& launch) {
  using X = typename Weights<Format>::template X<kTokens>;
  const std::int64_t warps = ceil_div(args.n_results, 32 / args.lanes);
  const std::int64_t blocks =
      std::min<std::int64_t>(ceil_div(warps, kWarps), launch.caps.n_sms * kBlocksPerSm);
  return start(launch, matvec_kernel<Format, kTokens, combine>,
               grid_of(blocks, ceil_div(max_rows, kTokens)), kMatvecThreads, X::bytes(args.k), args,
               launch.step);
}

}  // namespace

template <class Format>
cudaError_t matvec_of(const MatvecArgs& args, int max_rows, const Launch& launch) {
  constexpr int kFewTokens = 4;
  constexpr std::size_t kEnough = 96 * 1024;  // shared bytes that every device has
  using X = typename Weights<Format>::template X<kFewTokens>;
  if constexpr (holds(Format::kType))
    if (max_rows == 1 && is_held<Format>(args, launch)) return run_held<Format>(args, launch);
  if (args.combine == Combine::conv) return run<Format, 1, Combine::conv>(args, max_rows, launch);
  const bool one = max_rows == 1 || args.expert_ids != nullptr || X::bytes(args.k) > kEnough;
  if (args.combine == Combine::swiglu)
    return one ? run<Format, 1, Combine::swiglu>(args, max_rows, launch)
               : run<Format, kFewTokens, Combine::swiglu>(args, max_rows, launch);
  return one ? run<Format, 1, Combine::rows>(args, max_rows, launch)
             : run<Format, kFewTokens, Combine::rows>(args, max_rows, launch);
}

}  // namespace runnel::cuda
