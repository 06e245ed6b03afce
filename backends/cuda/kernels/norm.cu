// rms_norm and add_rms_norm: one block per group of d values; x is read twice, the second time from
// the cache.
#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMostWide = 4;  // float4 of a thread

struct NormArgs {
  const float *a, *b;  // b may be null
  const float* weight;
  float *sum, *normed;
  Rows rows;
  int groups, d;
  float eps;
};

__global__ void norm_kernel(NormArgs args, const StepData* step) {
  begin_step();
  const int row = blockIdx.x / args.groups;
  if (row >= rows_in_use(args.rows, step)) return;
  const std::int64_t start = std::int64_t{blockIdx.x} * args.d;
  float squares = 0;
  for (int i = threadIdx.x; i < args.d; i += kThreads) {
    float x = args.a[start + i];
    if (args.b != nullptr) {
      x += args.b[start + i];
      args.sum[start + i] = x;
    }
    squares += x * x;
  }
  const float scale = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(args.d) + args.eps);
  const float* x = args.b != nullptr ? args.sum : args.a;
  for (int i = threadIdx.x; i < args.d; i += kThreads)
    args.normed[start + i] = x[start + i] * scale * args.weight[i];
}

/// The same of d values that four float4 of each thread hold.
__global__ void wide_norm_kernel(NormArgs args, const StepData* step) {
  begin_step();
  const int row = blockIdx.x / args.groups;
  if (row >= rows_in_use(args.rows, step)) return;
  const std::int64_t start = std::int64_t{blockIdx.x} * (args.d / 4);
  const auto at = [](const float* p) { return reinterpret_cast<const float4*>(p); };
  float4 x[kMostWide];
  float squares = 0;
#pragma unroll
  for (int j = 0; j < kMostWide; ++j) {
    const int i = static_cast<int>(threadIdx.x) + j * kThreads;
    if (i >= args.d / 4) break;
    x[j] = at(args.a)[start + i];
    if (args.b != nullptr) {
      const float4 b = at(args.b)[start + i];
      x[j] = {x[j].x + b.x, x[j].y + b.y, x[j].z + b.z, x[j].w + b.w};
      reinterpret_cast<float4*>(args.sum)[start + i] = x[j];
    }
    squares += x[j].x * x[j].x + x[j].y * x[j].y + x[j].z * x[j].z + x[j].w * x[j].w;
  }
  const float scale = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(args.d) + args.eps);
#pragma unroll
  for (int j = 0; j < kMostWide; ++j) {
    const int i = static_cast<int>(threadIdx.x) + j * kThreads;
    if (i >= args.d / 4) break;
    const float4 w = at(args.weight)[i];
    reinterpret_cast<float4*>(args.normed)[start + i] = {
        x[j].x * scale * w.x, x[j].y * scale * w.y, x[j].z * scale * w.z, x[j].w * scale * w.w};
  }
}

cudaError_t run(const NormArgs& args, std::int64_t rows, const Launch& launch) {
  if (args.d % 4 == 0 && args.d <= kMostWide * 4 * kThreads)
    return start(launch, wide_norm_kernel, grid_of(rows * args.groups), kThreads, 0, args,
                 launch.step);
  return start(launch, norm_kernel, grid_of(rows * args.groups), kThreads, 0, args, launch.step);
}

}  // namespace

cudaError_t rms_norm(const Step& step, const Launch& launch) {
  const Operand &x = step.in[0], &weight = step.in[1];
  const int d = weight.cols();
  return run({x.f32(), nullptr, weight.f32(), nullptr, step.out[0].f32(), x.used(), x.cols() / d, d,
              step.attr_as<RmsNormAttr>().eps},
             x.rows(), launch);
}

cudaError_t add_rms_norm(const Step& step, const Launch& launch) {
  const Operand &x = step.in[0], &weight = step.in[2];
  const int d = weight.cols();
  return run({x.f32(), step.in[1].f32(), weight.f32(), step.out[0].f32(), step.out[1].f32(),
              x.used(), x.cols() / d, d, step.attr_as<RmsNormAttr>().eps},
             x.rows(), launch);
}

}  // namespace runnel::cuda
