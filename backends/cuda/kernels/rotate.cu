// rotate: gains, signed Hadamard transform of every 64 values, rounding to f16; each optional. One
// warp per 64 values.
#include "backends/cuda/kernels/hadamard.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 128;

struct RotateArgs {
  const float *x, *gains;
  float* out;
  int cols;
  Rows rows;
  RotateAttr attr;
};

__global__ void rotate_kernel(RotateArgs args, const StepData* step) {
  begin_step();
  const int lane = threadIdx.x % 32;
  const std::int64_t start = (std::int64_t{blockIdx.x} * (kThreads / 32) + threadIdx.x / 32) * 64;
  const std::int64_t n = std::int64_t{rows_in_use(args.rows, step)} * args.cols;
  if (start >= n) return;
  // Without a transform the columns need not be whole vectors.
  const bool has_a = start + lane < n, has_b = start + lane + 32 < n;
  float a = has_a ? args.x[start + lane] : 0.0f, b = has_b ? args.x[start + lane + 32] : 0.0f;
  if (args.gains != nullptr) {
    if (has_a) a *= args.gains[(start + lane) % args.cols];
    if (has_b) b *= args.gains[(start + lane + 32) % args.cols];
  }
  if (args.attr.transform) transform(a, b, args.attr);
  if (args.attr.round) {
    a = __half2float(__float2half_rn(a));
    b = __half2float(__float2half_rn(b));
  }
  if (has_a) args.out[start + lane] = a;
  if (has_b) args.out[start + lane + 32] = b;
}

}  // namespace

cudaError_t rotate(const Step& step, const Launch& launch) {
  const Operand& x = step.in[0];
  const RotateArgs args{x.f32(),  step.in[1].f32(), step.out[0].f32(),
                        x.cols(), x.used(),         step.attr_as<RotateAttr>()};
  const std::int64_t vectors = ceil_div(x.shape.elems(), 64);
  return start(launch, rotate_kernel, grid_of(ceil_div(vectors, kThreads / 32)), kThreads, 0, args,
               launch.step);
}

}  // namespace runnel::cuda
