// A product inside a run: as matvec_kernel.cuh does it, with the weights from the ring. Sums are
// added in the same order, so the results are the same bits.
#pragma once
#include "backends/cuda/kernels/matvec_kernel.cuh"
#include "backends/cuda/kernels/persist_ring.cuh"

namespace runnel::cuda {
namespace {

/// This lane's part of one row times x.
template <class T>
__device__ float row_part(Ring& ring, const FloatX<1>& x, const Feed& f) {
  const int lane = static_cast<int>(threadIdx.x) % 32 % f.lanes;
  float sum[1] = {};
  for (int i = 0; i < f.steps; ++i) {
    const int u = 2 * i * f.lanes + lane;
    ring.wait();
    const uint4 a = ring.unit(0), b = ring.unit(1);
    ring.pass();
    if (u < f.units) add_raw<T>(a, x, u, sum);
    if (u + f.lanes < f.units) add_raw<T>(b, x, u + f.lanes, sum);
  }
  return sum[0];
}

__device__ float reduced(float sum, int lanes) {
  for (int i = lanes / 2; i > 0; i /= 2) sum += __shfl_xor_sync(kAllLanes, sum, i);
  return sum;
}

/// The rows of one task, and what is done with their sums.
template <class T>
__device__ void do_task(Ring& ring,
                        const MatvecArgs& a,
                        const Feed& f,
                        const FloatX<1>& x,
                        const RowScales<1>& scale,
                        int task,
                        const StepData* step) {
  const int lane = threadIdx.x % 32, result = task * (32 / f.lanes) + lane / f.lanes;
  const bool valid = result < f.n_results;
  const Place place = place_of(a, valid ? result : f.n_results - 1);
  const Matrix& m = a.matrix[place.matrix];
  const bool writes = valid && lane % f.lanes == 0;
  Taps taps{};
  if (writes && a.combine == Combine::conv) taps.load(a, place.row, step);
  const float added = writes && m.residual != nullptr ? m.residual[place.row] : 0.0f;
  const float bias = writes && m.bias != nullptr ? m.bias[place.row] : 0.0f;
  float sums[3] = {};
  for (int part = 0; part < f.parts; ++part) {
    const float sum = reduced(row_part<T>(ring, x, f), f.lanes) * scale.of[0];
    if (part == 0) sums[0] = sum;
    if (part == 1) sums[1] = sum;
    if (part == 2) sums[2] = sum;
  }
  if (!writes) return;
  float value = sums[0];
  if (a.combine == Combine::swiglu) value = silu(value) * sums[1];
  if (a.combine == Combine::conv) value = taps.convolve(a.conv.taps, value, sums[1], sums[2]);
  m.out[place.row] = added + (value + bias);
}

/// The whole product. `norm`: its weights, where a row fits registers.
__device__ void do_product(Ring& ring,
                           const MatvecArgs& a,
                           const Feed& f,
                           const RowPart<>& norm,
                           std::byte* shared,
                           const StepData* step) {
  FloatX<1> x(shared, a.k);
  const RowScales<1> scale = load_x<FloatX<1>, 1>(x, a, norm, 0, 1);
  const auto all_tasks = [&]<class T>() {
    for (int task = ring.first_task(); task < f.n_tasks; task += ring.n_warps())
      do_task<T>(ring, a, f, x, scale, task, step);
  };
  if (a.type == quant::DType::f16) return all_tasks.template operator()<__half>();
  all_tasks.template operator()<__nv_bfloat16>();
}

}  // namespace
}  // namespace runnel::cuda
