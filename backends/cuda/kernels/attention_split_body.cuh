// attention of few tokens, one block's part; see attention_split.cu.
#pragma once
#include "backends/cuda/kernels/key_batches.cuh"
#include "backends/cuda/kernels/merge_heads.cuh"

namespace runnel::cuda {
namespace {

/// What a block has to do: up to kHeads query heads of one KV head and one split of the keys.
struct KeyShare {
  int kv_head, chunk, first_head, heads;
  int begin, end;        // keys
  int split, n_splits;
  std::int64_t row;      // token * heads of the model + first_head

  /// `y`: KV head and chunk of heads; keys from `first` to `place` are cut in splits of whole batches.
  __device__ KeyShare(const SplitArgs& a, int t, int x, int y, int first, int place) {
    const int group = a.attr.n_heads / a.attr.n_kv_heads, n_keys = place + 1 - first;
    kv_head = y / a.chunks;
    chunk = y % a.chunks;
    first_head = kv_head * group + chunk * kHeads;
    heads = min(kHeads, (kv_head + 1) * group - first_head);
    const int each = max(kLeast, ((n_keys + a.n_splits - 1) / a.n_splits + kKeyBatch - 1) / kKeyBatch *
                                     kKeyBatch);
    split = x;
    n_splits = (n_keys + each - 1) / each;
    begin = first + x * each;
    end = min(begin + each, place + 1);
    row = std::int64_t{t} * a.attr.n_heads + first_head;
  }
};

/// Merges the warps' sums and writes them; the last block to finish merges the splits.
template <int kDim, int kThreads>
__device__ void merge_shares(Shared<kDim, kThreads>& s,
                             const SplitArgs& a,
                             HeadSums<kDim>& sums,
                             const KeyShare& share,
                             std::uint32_t* counter) {
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4;
  sums.finish([&](int channel, float value) {
    if (g < kHeads) s.sums[warp][g][channel] = value;
  });
  if (g < kHeads && threadIdx.x % 4 == 0) s.states[warp][g] = {sums.most, sums.total};
  const std::int64_t stride = std::int64_t{a.n_splits} * (kDim + 2);
  float* const partial = a.partial + share.row * stride;
  const bool whole = share.n_splits == 1;
  merge_warps(s, share.heads, whole ? nullptr : partial + share.split * (kDim + 2), stride);
  if (!whole) {
    if (!is_last(counter, share.n_splits, s.last)) return;
    merge_parts(s, partial, share.n_splits, a.n_splits, share.heads);
  }
  write_results(s, a.out_turn, share.heads, a.out + share.row * kDim);
}

/// Whether this block has a token's key and value to keep.
__device__ inline bool keeps(const SplitArgs& a,
                             const StepData* step,
                             const KeyShare& share,
                             int place) {
  return a.k != nullptr && place >= step->kv_keep - step->kv_gap &&
         share.split == share.n_splits - 1;
}

/// One block's share over f16 pages. REQUIRES: make_table() was called.
template <int kDim, int kThreads>
__device__ void attend(Shared<kDim, kThreads>& s,
                       const SplitArgs& a,
                       const StepData* step,
                       int t,
                       int x,
                       int y,
                       std::uint32_t* counter) {
  const int place = kv_position(step) + t;
  const KeyShare share(a, t, x, y, a.attr.window > 0 ? max(0, place - a.attr.window + 1) : 0, place);
  if (x >= share.n_splits) return;
  const bool newest = keeps(a, step, share, place);
  const PageRows rows{
      {pages_of(step, a.k_state), pages_of(step, a.v_state)}, share.kv_head, kDim};
  __syncthreads();
  prepare(s, a, a.q + share.row * kDim, share.heads, share.kv_head, newest);
  __syncthreads();
  if (newest) {  // every chunk of heads writes the same
    for (int i = threadIdx.x; i < kDim; i += kThreads) {
      for (int half = 0; half < 2; ++half)
        page_row<__half>(rows.pages[half], place, share.kv_head, kDim)[i] =
            __float2half_rn(s.fresh[half][i]);
    }
    __syncthreads();
  }
  HeadSums<kDim> sums;
  constexpr Codes<quant::KvFormat::kt2> codes;
  sums.load(s.q[0], kHeads, codes);
  for (int first = share.begin + kKeyBatch * (threadIdx.x / 32); first < share.end;
       first += kKeyBatch * kThreads / 32)
    take_rows(sums, rows, first, share.end - 1, codes,
              [&](int key) { return key < share.end; });
  merge_shares(s, a, sums, share, counter);
}

}  // namespace
}  // namespace runnel::cuda
