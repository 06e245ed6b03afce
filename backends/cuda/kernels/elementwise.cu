// add, swiglu, last_row, moe_sum: one thread per element; bound by memory.
#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 256;

__device__ float silu(float x) {
  return x / (1.0f + expf(-x));
}

template <bool kSwiglu>
__global__ void pairwise(
    float* out, const float* a, const float* b, Rows rows, int cols, const StepData* step) {
  begin_step();
  const std::int64_t n = std::int64_t{rows_in_use(rows, step)} * cols;
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < n) out[i] = kSwiglu ? silu(a[i]) * b[i] : a[i] + b[i];
}

template <bool kSwiglu>
cudaError_t launch_pairwise(const Step& step, const Launch& launch) {
  const Operand& a = step.in[0];
  return start(launch, pairwise<kSwiglu>, grid_of(ceil_div(a.shape.elems(), kThreads)), kThreads, 0,
               step.out[0].f32(), a.f32(), step.in[1].f32(), a.used(), a.cols(), launch.step);
}

__global__ void copy_last_row(
    float* out, const float* x, Rows rows, int cols, const StepData* step) {
  begin_step();
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i < cols) out[i] = x[std::int64_t{rows_in_use(rows, step) - 1} * cols + i];
}

__global__ void sum_experts(float* out,
                            const float* y,
                            const float* weights,
                            int used,
                            Rows rows,
                            int cols,
                            const StepData* step) {
  begin_step();
  const int t = blockIdx.y, c = blockIdx.x * kThreads + threadIdx.x;
  if (t >= rows_in_use(rows, step) || c >= cols) return;
  float sum = 0;
  for (int j = 0; j < used; ++j)
    sum += weights[t * used + j] * y[(std::int64_t{t} * used + j) * cols + c];
  out[std::int64_t{t} * cols + c] = sum;
}

}  // namespace

cudaError_t add(const Step& step, const Launch& launch) {
  return launch_pairwise<false>(step, launch);
}

cudaError_t swiglu(const Step& step, const Launch& launch) {
  return launch_pairwise<true>(step, launch);
}

cudaError_t last_row(const Step& step, const Launch& launch) {
  const Operand& x = step.in[0];
  return start(launch, copy_last_row, grid_of(ceil_div(x.cols(), kThreads)), kThreads, 0,
               step.out[0].f32(), x.f32(), x.used(), x.cols(), launch.step);
}

cudaError_t moe_sum(const Step& step, const Launch& launch) {
  const Operand &y = step.in[0], &weights = step.in[1];
  return start(launch, sum_experts, grid_of(ceil_div(y.cols(), kThreads), weights.rows()), kThreads,
               0, step.out[0].f32(), y.f32(), weights.f32(), weights.cols(), weights.used(),
               y.cols(), launch.step);
}

}  // namespace runnel::cuda
