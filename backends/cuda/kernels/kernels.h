// Launch functions of all kernels, and the scratch they need. What an op computes is said at its
// name in runtime/graph/ops.h; how is said in the kernel's file.
#pragma once
#include "backends/cuda/kernel.h"

namespace runnel::cuda {

/// Blocks of a file to planes (layout.h).
struct PackArgs {
  DType type;
  const std::byte* raw;  // n_blocks blocks as in the file
  std::byte* to;         // all planes of the weight
  PlaneOffsets planes;
  std::int64_t first_block, n_blocks;
};
cudaError_t launch_pack(const PackArgs& args, cudaStream_t stream);

cudaError_t embed(const Step& step, const Launch& launch);
cudaError_t rms_norm(const Step& step, const Launch& launch);
cudaError_t add_rms_norm(const Step& step, const Launch& launch);
cudaError_t add(const Step& step, const Launch& launch);
cudaError_t swiglu(const Step& step, const Launch& launch);
cudaError_t rope(const Step& step, const Launch& launch);
cudaError_t rms_norm_rope(const Step& step, const Launch& launch);
cudaError_t kv_append(const Step& step, const Launch& launch);
cudaError_t attention(const Step& step, const Launch& launch);
cudaError_t rotate(const Step& step, const Launch& launch);
cudaError_t kv_seal(const Step& step, const Launch& launch);
cudaError_t tile_attention(const Step& step, const Launch& launch);
cudaError_t kv_window(const Step& step, const Launch& launch);
cudaError_t short_conv(const Step& step, const Launch& launch);
cudaError_t moe_route(const Step& step, const Launch& launch);
cudaError_t moe_sum(const Step& step, const Launch& launch);
cudaError_t last_row(const Step& step, const Launch& launch);
cudaError_t argmax(const Step& step, const Launch& launch);
std::size_t argmax_scratch(const Graph& graph, const Node& node);
cudaError_t matvec(const Step& step, const Launch& launch);
/// Whether a step is such a product whose weights are under way before x is there.
bool holds_weights(const Step& step);
cudaError_t gemm(const Step& step, const Launch& launch);
cudaError_t gemm_swiglu(const Step& step, const Launch& launch);

/// Most values of a row that matvec keeps in shared memory: of f32, of 8 bits.
inline constexpr int kMatvecFloats = 24000, kMatvecBytes = 65536;

/// Most taps of a short convolution that a product does as well.
inline constexpr int kMostTaps = 4;

/// f16 rows of x (padded to 64 columns), their scales, and the sums of the splits of K.
inline constexpr int kMostGemmSplits = 2;
std::size_t gemm_scratch(const Graph& graph, const Node& node);

/// The same products on Hopper: in scratch f16 tiles of x and their scales.
cudaError_t gemm_hopper(const Step& step, const Launch& launch);
cudaError_t gemm_hopper_swiglu(const Step& step, const Launch& launch);
inline constexpr int kMostExperts = 1024;  // of moe_hopper
cudaError_t moe_hopper(const Step& step, const Launch& launch);
std::size_t moe_hopper_scratch(const Graph& graph, const Node& node);
std::size_t gemm_hopper_scratch(const Graph& graph, const Node& node);

/// attention of few tokens: into how many splits the keys are cut, with `blocks` blocks for each.
cudaError_t attention_split(const Step& step, const Launch& launch);
/// The same over tiles and the rows beside them.
cudaError_t tile_attention_split(const Step& step, const Launch& launch);
/// attention of many tokens over f16 rows, on the tensor cores.
cudaError_t attention_mma(const Step& step, const Launch& launch);
/// The same over tiles.
cudaError_t tile_attention_mma(const Step& step, const Launch& launch);
/// For one token: norms and ropes of q and k (or ropes alone), kv_append and attention in one.
/// in: q, k, v before all that, K state, V state.
cudaError_t attention_step(const Step& step, const Launch& launch);
/// The same with transforms, kv_window and tiles. in: q, k, v before all that, K and V tiles,
/// window.
cudaError_t tile_attention_step(const Step& step, const Launch& launch);
inline constexpr int kMostSplits = 64;
inline int attention_splits(const Caps& caps, int blocks) {
  const int n = caps.n_sms / blocks;
  return n < 1 ? 1 : n > kMostSplits ? kMostSplits : n;
}
/// Partial results of all splits.
std::size_t attention_scratch(const Graph& graph, const Node& node);

}  // namespace runnel::cuda
