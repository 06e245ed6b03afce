// Arguments of attention of few tokens; see attention_split.cu.
#pragma once
#include <algorithm>

#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {

/// What is done with a head before it is used: rms_norm, rope, Hadamard transform; each optional.
struct HeadWork {
  const float* norm;  // [head_dim] or null
  float eps;
  const double* speed;   // [rotary_dim / 2] or null: no rope
  const float* factors;  // [rotary_dim / 2] or null
  int rotary_dim;
  RopeStyle style;
  RotateAttr turn = kNoTurn;
};

struct SplitArgs {
  const float* q;      // [tokens, heads * head_dim]
  const float *k, *v;  // [1, kv_heads * head_dim], appended first; null: they are in the pages
  HeadWork q_work, k_work, v_work;
  RotateAttr out_turn = kNoTurn;
  float* out;
  float* partial;           // [token, head, split] x (head_dim sums, maximum, sum)
  std::uint32_t* counters;  // [token, kv_head, chunk of heads]
  int k_state, v_state, n_splits, chunks;
  AttentionAttr attr;

  __host__ __device__ int n_blocks() const { return attr.n_kv_heads * chunks; }  // of a split
};

/// What a block does: blocks are [token][heads][split].
struct SplitBlock {
  int split, heads, token;
  __device__ explicit SplitBlock(const SplitArgs& a)
      : split(static_cast<int>(blockIdx.x) % a.n_splits),
        heads(static_cast<int>(blockIdx.x) / a.n_splits),
        token(blockIdx.y) {}
  __device__ bool idle(const SplitArgs& a) const { return heads >= a.n_blocks(); }
};
/// Between products that hold their weights the blocks are as many as multiprocessors: were one
/// left free, two blocks of the kernel after this one would share it, and of all that follow.
inline dim3 split_grid(const SplitArgs& a, int tokens, const Launch& launch) {
  const int blocks = a.n_splits * a.n_blocks();
  return grid_of(launch.same_division ? std::max(blocks, launch.caps.n_sms) : blocks, tokens);
}

/// What a step with extra operands does with heads, on top of `args`.
void take_head_work(SplitArgs& args, const Step& step);

/// Arguments of attention_step, cut into splits.
SplitArgs attention_step_args(const Step& step, const Caps& caps);

cudaError_t launch_attention_split(const SplitArgs& args, int max_tokens, const Launch& launch);

}  // namespace runnel::cuda
