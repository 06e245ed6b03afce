// moe_route: one block per token chooses the best experts one after the other, as the reference
// does: the highest score + bias, among equals the lowest expert.
#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 32;

struct RouteArgs {
  const float *logits, *bias;
  float* weights;
  std::int32_t* ids;
  int experts;
  MoeRouteAttr attr;
  Rows rows;
};

/// Scores [experts] of one token.
__device__ void score_row(float* score, const float* logits, int n, Gating gating) {
  if (gating == Gating::sigmoid) {
    for (int e = threadIdx.x; e < n; e += kThreads) score[e] = 1.0f / (1.0f + expf(-logits[e]));
    return;
  }
  float most = logits[0], sum = 0;
  for (int e = threadIdx.x; e < n; e += kThreads) most = fmaxf(most, logits[e]);
  for (int i = 16; i > 0; i /= 2) most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, i));
  for (int e = threadIdx.x; e < n; e += kThreads) sum += score[e] = expf(logits[e] - most);
  sum = warp_sum(sum);
  for (int e = threadIdx.x; e < n; e += kThreads) score[e] /= sum;
}

__device__ int best_expert(const float* rank, int n) {
  float value = -INFINITY;
  int index = n;
  for (int e = threadIdx.x; e < n; e += kThreads)
    if (rank[e] > value || index == n) {
      value = rank[e];
      index = e;
    }
  for (int i = 16; i > 0; i /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, value, i);
    const int other_index = __shfl_xor_sync(kAllLanes, index, i);
    if (other > value || (other == value && other_index < index)) {
      value = other;
      index = other_index;
    }
  }
  return index;
}

__global__ void route_kernel(RouteArgs a, const StepData* step) {
  extern __shared__ float score[];  // [experts], then ranks [experts]
  begin_step();
  const int t = blockIdx.x, n = a.experts, k = a.attr.n_used;
  if (t >= rows_in_use(a.rows, step)) return;
  float* rank = score + n;
  score_row(score, a.logits + std::int64_t{t} * n, n, a.attr.gating);
  for (int e = threadIdx.x; e < n; e += kThreads)
    rank[e] = a.bias != nullptr ? score[e] + a.bias[e] : score[e];
  __syncwarp();
  float sum = 0;
  for (int j = 0; j < k; ++j) {
    const int best = best_expert(rank, n);
    sum += score[best];
    __syncwarp();
    if (threadIdx.x == 0) {
      a.ids[t * k + j] = best;
      rank[best] = -INFINITY;
    }
    __syncwarp();
  }
  const float divisor = a.attr.normalise ? sum + a.attr.norm_eps : 1.0f;
  for (int j = threadIdx.x; j < k; j += kThreads)
    a.weights[t * k + j] = score[a.ids[t * k + j]] / divisor * a.attr.scale;
}

}  // namespace

cudaError_t moe_route(const Step& step, const Launch& launch) {
  const Operand& logits = step.in[0];
  const RouteArgs args{logits.f32(),      step.in[1].f32(), step.out[0].f32(),
                       step.out[1].ids(), logits.cols(),    step.attr_as<MoeRouteAttr>(),
                       logits.used()};
  return start(launch, route_kernel, grid_of(logits.rows()), kThreads,
               static_cast<std::size_t>(logits.cols()) * 2 * sizeof(float), args, launch.step);
}

}  // namespace runnel::cuda
