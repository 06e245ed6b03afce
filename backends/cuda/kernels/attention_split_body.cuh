// attention of few tokens over f16 pages, one block's part; see attention_split.cu.
#pragma once
#include "backends/cuda/kernels/attention_keys.cuh"

namespace runnel::cuda {
namespace {

/// Which of a token's splits, of how many, for how many heads from row * head_dim on.
struct Split {
  int index, n, heads;
  std::int64_t row;
};

/// Writes a split's share; the last block to finish writes the results.
template <int kDim, int kThreads>
__device__ void merge_splits(Shared<kDim, kThreads>& s,
                             const SplitArgs& a,
                             Sums& sums,
                             const Split& split,
                             std::uint32_t* counter) {
  const std::int64_t stride = std::int64_t{a.n_splits} * (kDim + 2);
  float* const partial = a.partial + split.row * stride;
  float* const out = a.out + split.row * kDim;
  merge_warps(s, sums, split.heads, split.n == 1 ? out : nullptr,
              partial + split.index * (kDim + 2), stride);
  if (split.n == 1 || !is_last(counter, split.n, s.last)) return;
  for (int i = threadIdx.x; i < split.heads * kDim; i += kThreads)
    out[i] = merge_all<kDim>(partial + i / kDim * stride, split.n, kDim + 2, i % kDim);
}

/// One block's split: `y` is its KV head and chunk of heads. REQUIRES: make_table() was called.
template <int kKeyBatch, int kDim, int kThreads>
__device__ void attend(Shared<kDim, kThreads>& s,
                       const SplitArgs& a,
                       const StepData* step,
                       int t,
                       int split,
                       int y,
                       std::uint32_t* counter) {
  const int place = kv_position(step) + t, n_heads = a.attr.n_heads;
  const int group = n_heads / a.attr.n_kv_heads, kv_head = y / a.chunks;
  const int chunk = y % a.chunks;
  const int first_head = kv_head * group + chunk * kHeads;
  const int heads = min(kHeads, (kv_head + 1) * group - first_head);
  const int first_key = a.attr.window > 0 ? max(0, place - a.attr.window + 1) : 0;
  const int n_keys = place + 1 - first_key;
  const int each = max(kLeast, ((n_keys + a.n_splits - 1) / a.n_splits + 31) / 32 * 32);
  const int n_active = (n_keys + each - 1) / each;
  if (split >= n_active) return;
  const bool append = a.k != nullptr && place >= step->kv_keep - step->kv_gap;
  const bool newest = append && split == n_active - 1;
  Keys keys{pages_of(step, a.k_state), pages_of(step, a.v_state),
            first_key + split * each,  min(first_key + (split + 1) * each, place + 1),
            newest ? place : -1,       kv_head};
  const std::int64_t row = std::int64_t{t} * n_heads + first_head;
  __syncthreads();
  prepare(s, a, a.q + row * kDim, heads, kv_head, newest);
  __syncthreads();
  if (newest && chunk == 0)
    for (int i = threadIdx.x; i < kDim; i += kThreads) {
      page_row<__half>(keys.k_pages, place, kv_head, kDim)[i] = s.k[i];
      page_row<__half>(keys.v_pages, place, kv_head, kDim)[i] = s.v[i];
    }
  Sums sums;
  constexpr int kLanes = kDim / 8;
  RowSource<kDim, kThreads, kKeyBatch> source{s, keys, static_cast<int>(threadIdx.x) % kLanes * 8,
                                              static_cast<int>(threadIdx.x) / kLanes};
  add_keys<kDim, kThreads, kKeyBatch>(s, keys.begin, keys.end, source, sums);
  merge_splits(s, a, sums, {split, n_active, heads, row}, counter);
}

}  // namespace
}  // namespace runnel::cuda
