// short_conv: z[t][c] = sum over k of filter[c][k] * p[t - (L-1) + k][c] (+ bias), p = B * x,
// out = C * z; a thread has four tokens of a channel. p of earlier steps comes from the ring, which
// a second kernel writes: a step may be longer than the ring.
#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTokens = 4;  // of a thread

struct ConvArgs {
  const float *bcx, *filter, *bias;
  float* out;
  int d, taps, ring_columns, state;
};

/// B * x of `source`, from the step or from the ring.
__device__ float product_at(const ConvArgs& a, const float* ring, int pos, int source, int c) {
  if (source < pos) return ring[std::int64_t{source % a.ring_columns} * a.d + c];
  const float* row = a.bcx + std::int64_t{source - pos} * 3 * a.d;
  return __fmul_rn(row[c], row[2 * a.d + c]);
}

__global__ void conv_kernel(ConvArgs a, const StepData* step) {
  begin_step();
  const int first = static_cast<int>(blockIdx.y) * kTokens, pos = step->pos;
  const int end = min(first + kTokens, step->n_tokens), c = blockIdx.x * kThreads + threadIdx.x;
  if (c >= a.d) return;
  const auto* ring = reinterpret_cast<const float*>(pages_of(step, a.state)[0]);
  const float bias = a.bias != nullptr ? a.bias[c] : 0.0f;
#pragma unroll 4
  for (int t = first; t < end; ++t) {
    float sum = 0;
    for (int k = 0; k < a.taps; ++k) {
      const int source = pos + t - (a.taps - 1) + k;
      if (source >= 0) sum += a.filter[c * a.taps + k] * product_at(a, ring, pos, source, c);
    }
    if (a.bias != nullptr) sum += bias;
    a.out[std::int64_t{t} * a.d + c] = a.bcx[(std::int64_t{t} * 3 + 1) * a.d + c] * sum;
  }
}

__global__ void ring_kernel(ConvArgs a, const StepData* step) {
  begin_step();
  const int n_tokens = step->n_tokens;
  const int t = n_tokens - 1 - static_cast<int>(blockIdx.y);
  const int c = blockIdx.x * kThreads + threadIdx.x;
  if (t < 0 || c >= a.d) return;
  auto* ring = reinterpret_cast<float*>(pages_of(step, a.state)[0]);
  const float* row = a.bcx + std::int64_t{t} * 3 * a.d;
  ring[std::int64_t{(step->pos + t) % a.ring_columns} * a.d + c] = row[c] * row[2 * a.d + c];
}

}  // namespace

cudaError_t short_conv(const Step& step, const Launch& launch) {
  const Operand &bcx = step.in[0], &filter = step.in[1], &ring = step.in[2];
  const int d = static_cast<int>(filter.shape[0]);
  const ConvArgs args{bcx.f32(),
                      filter.f32(),
                      step.in[3].f32(),
                      step.out[0].f32(),
                      d,
                      filter.cols(),
                      static_cast<int>(ring.shape[0]),
                      ring.state_index};
  const std::int64_t blocks = ceil_div(d, kThreads);
  const cudaError_t error =
      start(launch, conv_kernel, grid_of(blocks, ceil_div(bcx.rows(), kTokens)), kThreads, 0, args,
            launch.step);
  if (error != cudaSuccess) return error;
  return start(launch, ring_kernel,
               grid_of(blocks, std::min<std::int64_t>(bcx.rows(), args.ring_columns)), kThreads, 0,
               args, launch.step);
}

}  // namespace runnel::cuda
