// What a run does before and after the layers: embed and last_row of one token, argmax of one row.
#pragma once
#include "backends/cuda/kernels/attention_split_body.cuh"
#include "backends/cuda/kernels/matvec_plain.cuh"
#include "backends/cuda/kernels/persist.cuh"

namespace runnel::cuda {
namespace {

constexpr int kArgmaxCounter = 32;

template <class T>
__device__ void embed_row(const EmbedOneArgs& a, int id) {
  const T* row = static_cast<const T*>(a.values) + std::int64_t{id} * a.cols;
  for (int i = static_cast<int>(blockIdx.x * kPersistThreads + threadIdx.x); i < a.cols;
       i += static_cast<int>(gridDim.x) * kPersistThreads)
    a.out[i] = as_float(row[i]);
}

__device__ void do_embed(const EmbedOneArgs& a, const StepData* step) {
  const int id = a.ids[0];
  if (id < 0 || id >= a.n_rows) {
    if (blockIdx.x == 0 && threadIdx.x == 0)
      *step->failure = static_cast<std::int32_t>(Failure::token_id);
    return;
  }
  if (a.type == quant::DType::f16) return embed_row<__half>(a, id);
  embed_row<__nv_bfloat16>(a, id);
}

/// last_row of one token.
__device__ void do_copy(const CopyArgs& a) {
  for (int i = static_cast<int>(blockIdx.x * kPersistThreads + threadIdx.x); i < a.n;
       i += static_cast<int>(gridDim.x) * kPersistThreads)
    a.out[i] = a.x[i];
}

__device__ Best better(Best a, Best b) {
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

/// The best of a block, in thread 0.
__device__ Best block_best(Best best, Best* partial) {
  for (int i = 16; i > 0; i /= 2)
    best = better(best, {__shfl_xor_sync(kAllLanes, best.value, i),
                         __shfl_xor_sync(kAllLanes, best.index, i)});
  __syncthreads();
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x == 0)
    for (int i = 0; i < kPersistThreads / 32; ++i) best = better(best, partial[i]);
  return best;
}

/// Every block takes a share; the last to finish takes the best of all.
__device__ void do_argmax(const ArgmaxOneArgs& a, const PersistArgs& all, std::byte* shared) {
  auto* partial = reinterpret_cast<Best*>(shared);
  auto* last = reinterpret_cast<bool*>(partial + kPersistThreads / 32);
  Best best{a.x[0], 0};
  for (int i = static_cast<int>(blockIdx.x * kPersistThreads + threadIdx.x); i < a.cols;
       i += static_cast<int>(gridDim.x) * kPersistThreads)
    best = better(best, {a.x[i], i});
  best = block_best(best, partial);
  if (threadIdx.x == 0) all.best[blockIdx.x] = best;
  if (!is_last(all.counters + kArgmaxCounter, static_cast<int>(gridDim.x), *last)) return;
  best = {a.x[0], 0};
  for (int i = threadIdx.x; i < static_cast<int>(gridDim.x); i += kPersistThreads)
    best = better(best, all.best[i]);
  best = block_best(best, partial);
  if (threadIdx.x == 0) *a.out = best.index;
}

}  // namespace
}  // namespace runnel::cuda
