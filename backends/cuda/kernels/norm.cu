// rms_norm and add_rms_norm: one block per group of d values; x is read twice, the second time from
// the cache.
#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 256;

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

cudaError_t run(const NormArgs& args, std::int64_t rows, const Launch& launch) {
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
