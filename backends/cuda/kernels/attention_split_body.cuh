// attention of few tokens, one block's part; see attention_split.cu.
#pragma once
#include "backends/cuda/kernels/merge_heads.cuh"
#include "backends/cuda/kernels/row_batches.cuh"

namespace runnel::cuda {
namespace {

/// What a block has to do: up to kHeads query heads of one KV head and one split of the keys.
struct KeyShare {
  int kv_head, chunk, first_head, heads;
  int begin, end;  // keys; `begin` is the first of a batch, of which some may be too old
  int split, n_splits;
  std::int64_t row;  // token * heads of the model + first_head

  /// `y`: KV head and chunk of heads; keys from `first` to `place` are cut in splits of whole
  /// batches.
  __device__ KeyShare(const SplitArgs& a, int t, int x, int y, int first, int place) {
    const int group = a.attr.n_heads / a.attr.n_kv_heads, from = first / kKeyBatch * kKeyBatch;
    const int n_keys = place + 1 - from;
    kv_head = y / a.chunks;
    chunk = y % a.chunks;
    first_head = kv_head * group + chunk * kHeads;
    heads = min(kHeads, (kv_head + 1) * group - first_head);
    const int each = max(
        kLeast, ((n_keys + a.n_splits - 1) / a.n_splits + kKeyBatch - 1) / kKeyBatch * kKeyBatch);
    split = x;
    n_splits = (n_keys + each - 1) / each;
    begin = from + x * each;
    end = min(begin + each, place + 1);
    row = std::int64_t{t} * a.attr.n_heads + first_head;
  }
};

/// Where the newest token's key and value go.
struct NewestRows {
  __half* at[2] = {};  // null: nowhere

  __device__ bool present() const { return at[0] != nullptr; }
  template <int kDim, int kThreads>
  __device__ void keep(const Shared<kDim, kThreads>& s) const {
    for (int i = threadIdx.x; i < kDim; i += kThreads)
      for (int half = 0; half < 2; ++half) at[half][i] = __float2half_rn(s.fresh[half][i]);
  }
};

/// Merges the warps' sums and writes them; the last block to finish merges the splits.
template <bool kByEight, int kDim, int kThreads>
__device__ void merge_shares(Shared<kDim, kThreads>& s,
                             const SplitArgs& a,
                             HeadSums<kDim>& sums,
                             const KeyShare& share,
                             std::uint32_t* counter) {
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4;
  sums.template finish<kByEight>([&](int channel, float value) {
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

/// What a block knows of its share before its queries are there.
template <int kDim>
struct PageTask {
  KeyShare share;
  HeadTask<kDim> heads;
  std::byte* const* pages[2];
  int first_key;  // that the token sees
  NewestRows newest;

  __device__ PageTask(const SplitArgs& a, const StepData* step, int t, int x, int y)
      : PageTask(a, step, t, x, y, kv_position(step) + t) {}

 private:
  __device__ PageTask(const SplitArgs& a, const StepData* step, int t, int x, int y, int place)
      : PageTask(
            a, step, t, x, y, place, a.attr.window > 0 ? max(0, place - a.attr.window + 1) : 0) {}
  __device__ PageTask(
      const SplitArgs& a, const StepData* step, int t, int x, int y, int place, int first)
      : share(a, t, x, y, first, place),
        heads(a),
        pages{pages_of(step, a.k_state), pages_of(step, a.v_state)},
        first_key(first) {
    if (keeps(a, step, share, place))
      for (int half = 0; half < 2; ++half)
        newest.at[half] = page_row<__half>(pages[half], place, share.kv_head, kDim);
  }
};

/// One block's share over f16 pages. REQUIRES: make_table() was called.
template <int kDim, int kThreads>
__device__ void attend(Shared<kDim, kThreads>& s,
                       const SplitArgs& a,
                       const PageTask<kDim>& task,
                       std::uint32_t* counter) {
  using Batch = PageBatch<kDim>;
  constexpr int kStride = kKeyBatch * kThreads / 32;
  const KeyShare& share = task.share;
  if (share.split >= share.n_splits) return;
  __syncthreads();
  prepare(s, a, task.heads, a.q + share.row * kDim, share.heads, share.kv_head,
          task.newest.present());
  __syncthreads();
  if (task.newest.present()) {  // every chunk of heads writes the same
    task.newest.keep(s);
    __syncthreads();
  }
  HeadSums<kDim> sums;
  sums.load(s.q[0], kHeads, Batch::kChannels);
  for (int first = share.begin + kKeyBatch * (threadIdx.x / 32); first < share.end;
       first += kStride)
    take_rows(sums, Batch(task.pages, share.kv_head, first),
              [&](int key) { return first + key >= task.first_key && first + key < share.end; });
  merge_shares<Batch::kByEight>(s, a, sums, share, counter);
}

}  // namespace
}  // namespace runnel::cuda
