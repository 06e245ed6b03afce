// rope, and rms_norm of each head before it: one block per token. Angles are computed in f64, once
// per token and pair: their error would grow with the position.
#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 256;

struct RopeArgs {
  const float* x;
  float* out;
  const float* weight;   // of the norm; null: none
  const float* factors;  // null: none
  const double* speed;   // [rotary_dim / 2]
  int cols, head_dim, rotary_dim;
  RopeStyle style;
  float eps;
};

/// One warp per head: norm, then rotation by the block's table of cosines and sines.
__device__ void rotate_head(const RopeArgs& a, const float* table, const float* x, float* out) {
  const int lane = threadIdx.x % 32, pairs = a.rotary_dim / 2;
  float scale = 1.0f;
  if (a.weight != nullptr) {
    float squares = 0;
    for (int i = lane; i < a.head_dim; i += 32) squares += x[i] * x[i];
    scale = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(a.head_dim) + a.eps);
  }
  const auto value = [&](int i) { return a.weight != nullptr ? x[i] * scale * a.weight[i] : x[i]; };
  const bool half = a.style == RopeStyle::half;
  for (int i = lane; i < pairs; i += 32) {
    const int first = half ? i : 2 * i, second = half ? i + pairs : 2 * i + 1;
    const float u = value(first), v = value(second);
    const float cosine = table[i], sine = table[pairs + i];
    out[first] = u * cosine - v * sine;
    out[second] = v * cosine + u * sine;
  }
  for (int i = a.rotary_dim + lane; i < a.head_dim; i += 32) out[i] = value(i);
}

__global__ void rope_kernel(RopeArgs a, const StepData* step) {
  extern __shared__ float table[];
  begin_step();
  const int t = blockIdx.x, pairs = a.rotary_dim / 2;
  if (t >= step->n_tokens) return;
  for (int i = threadIdx.x; i < pairs; i += kThreads) {
    const double factor = a.factors != nullptr ? static_cast<double>(a.factors[i]) : 1.0;
    double sine, cosine;
    sincos(static_cast<double>(step->pos + t) * (a.speed[i] / factor), &sine, &cosine);
    table[i] = static_cast<float>(cosine);
    table[pairs + i] = static_cast<float>(sine);
  }
  __syncthreads();
  for (int start = threadIdx.x / 32 * a.head_dim; start < a.cols;
       start += kThreads / 32 * a.head_dim) {
    const std::int64_t at = std::int64_t{t} * a.cols + start;
    rotate_head(a, table, a.x + at, a.out + at);
  }
}

cudaError_t run(const Step& step,
                const Launch& launch,
                const Operand* weight,
                const Operand& factors) {
  const Operand& x = step.in[0];
  const auto& attr = step.attr_as<RopeAttr>();
  const RopeArgs args{x.f32(),       step.out[0].f32(),     weight ? weight->f32() : nullptr,
                      factors.f32(), step.device_constants, x.cols(),
                      attr.head_dim, attr.rotary_dim,       attr.style,
                      attr.eps};
  return start(launch, rope_kernel, grid_of(x.rows()), kThreads,
               static_cast<std::size_t>(attr.rotary_dim) * sizeof(float), args, launch.step);
}

}  // namespace

cudaError_t rope(const Step& step, const Launch& launch) {
  return run(step, launch, nullptr, step.in[1]);
}

cudaError_t rms_norm_rope(const Step& step, const Launch& launch) {
  return run(step, launch, &step.in[1], step.in[2]);
}

}  // namespace runnel::cuda
