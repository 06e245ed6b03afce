// The operators a Graph may hold, their attributes and the schema table (arity, shape inference,
// decomposition, cost). One row per op; backends add kernels for rows, never ops.
#pragma once
#include <bit>
#include <cstdint>
#include <string_view>
#include <variant>

#include "quant/hadamard.h"
#include "runtime/base/status.h"

namespace runnel {

class Graph;
struct Node;

// T = tokens of the step, D = d_model, H/G = query/KV heads, dh = head_dim, V = vocabulary,
// E = experts, k = experts per token. All activations f32 row-major unless said otherwise.
enum class Op : std::uint8_t {
  embed,      // (table [V,D], ids [T] i32) -> [T,D]
  rms_norm,   // (x [T,n*d], weight [d]) -> [T,n*d]; each group of d values is normalised
  matmul,     // (x [T,K], W [N,K], bias [N]?) -> [T,N] = x W^T (+ bias)
  add,        // (a [T,D], b [T,D]) -> [T,D]
  swiglu,     // (gate [T,F], up [T,F]) -> silu(gate) * up
  rope,       // (x [T,n*dh], freq_factors [rotary_dim/2] f32?) -> rotated x
  kv_append,  // (k [T,G*dh], v [T,G*dh], K state, V state) -> nothing; writes positions >= kv_keep
  attention,  // (q [T,H*dh], K state, V state) -> [T,H*dh]; causal softmax attention with GQA
  // Beside a cache of tiles: what a token sees of each older one is decided by the two positions
  // (kv_format.h, kv_sealed_before), so results do not depend on how a sequence is cut into steps.
  rotate,      // (x [T,n*64], gains [n*64] f32?) -> gains * x, transformed and/or rounded to f16
  kv_seal,     // (k, v [T,G*dh], K tiles, V tiles, window) -> nothing; encodes the tiles from
               // kv_sealed on that the step's last token sees as tiles
  kv_summary,  // (K tiles, summaries) -> nothing; of the pages that kv_seal has completed
  tile_attention,  // (q [T,H*dh], k, v [T,G*dh], K tiles, V tiles, window, summaries?) -> [T,H*dh];
                   // attention over sinks, tiles and the newest rows, the step's own included
  kv_window,       // (k, v [T,G*dh], window) -> nothing; keeps the step's newest rows >= kv_keep
  short_conv,      // (bcx [T,3D] chunks B|C|x, filter [D,L] f32, ring state, bias [D]?) -> [T,D]
  moe_route,       // (router logits [T,E], selection bias [E]?) -> weights [T,k] f32, ids [T,k] i32
  moe_matmul,      // (x [T,K] or [T*k,K], W [E,N,K], ids [T,k] i32) -> [T*k,N]
  moe_sum,         // (y [T*k,D], weights [T,k]) -> [T,D] = sum over k of weights * y
  last_row,        // (x [T,D]) -> [1,D], the row of the step's last token
  argmax,  // (x [T,V]) -> [T] i32, the lowest index among equals; NaN counts in the first place
           // only
  // Fused ops: each has a decomposition into the ops above.
  add_rms_norm,   // (a [T,D], b [T,D], weight [D]) -> sum [T,D], normed [T,D]
  matmul_swiglu,  // (x [T,K], Wgate [F,K], Wup [F,K]) -> [T,F]
  rms_norm_rope,  // (x [T,n*dh], weight [dh], freq_factors?) -> normed then rotated
  count
};

enum class RopeStyle : std::uint8_t {
  half,         // pairs (i, i + rotary_dim/2): NEOX, Llama-HF, LFM2, Qwen
  interleaved,  // pairs (2i, 2i+1): GPT-J, and GGUF files of llama whose q/k rows were permuted
};
enum class Gating : std::uint8_t { softmax, sigmoid };

struct RmsNormAttr {
  float eps = 1e-5f;
};
struct RopeAttr {
  float theta = 1e6f;
  int head_dim = 0;
  int rotary_dim = 0;  // first dims of each head that rotate
  RopeStyle style = RopeStyle::half;
  float eps = 0.0f;  // rms_norm_rope only
};
struct KvWindowAttr {
  int sinks = 0;   // first tokens kept in f16
  int recent = 0;  // newest tokens kept in f16
  /// KV heads (bit h: head h) without tiles: they see sinks and recent tokens only. Pages of tiles
  /// hold the other heads, in order.
  std::uint64_t streaming = 0;

  constexpr bool streams(std::int64_t head) const {
    return head < 64 && (streaming >> head & 1) != 0;
  }
  /// Where a head's tiles are in a page. REQUIRES: !streams(head).
  constexpr std::int64_t page_head(std::int64_t head) const {
    const std::uint64_t below = head < 64 ? (std::uint64_t{1} << head) - 1 : ~std::uint64_t{0};
    return head - std::popcount(streaming & below);
  }
  /// The head whose tiles are there.
  constexpr std::int64_t head_at(std::int64_t page_head) const {
    std::int64_t head = page_head;
    while (streams(head) || this->page_head(head) != page_head) ++head;
    return head;
  }
};
/// Pages that a token reads once `from` tokens are cached: the newest, the first, and those that
/// each query head chooses. 0 pages: all, always.
struct SparseAttr {
  int from = 0, pages = 0;
};
struct RotateAttr {
  std::uint64_t signs = 0;
  quant::Direction direction = quant::Direction::forward;
  bool transform = true;  // of every 64 values
  bool round = false;     // to f16, afterwards
};
struct AttentionAttr {
  float scale = 1.0f;  // multiplies q.k
  int n_heads = 0, n_kv_heads = 0, head_dim = 0;
  int window = 0;           // 0 = all earlier tokens, else the last `window` of them
  KvWindowAttr tiles = {};  // tile_attention only
  SparseAttr sparse = {};   // tile_attention only, with summaries
};
struct ShortConvAttr {
  int kernel = 3;  // L, filter taps; ring columns hold p = B*x
};
struct MoeRouteAttr {
  int n_used = 0;  // k
  Gating gating = Gating::sigmoid;
  bool normalise = true;  // divide the chosen weights by (their sum + norm_eps)
  float norm_eps = 1e-6f;
  float scale = 1.0f;
};
using Attr = std::variant<std::monostate,
                          RmsNormAttr,
                          RopeAttr,
                          AttentionAttr,
                          ShortConvAttr,
                          MoeRouteAttr,
                          RotateAttr,
                          KvWindowAttr>;

/// What one execution of a node costs at its compiled shapes.
struct OpCost {
  double flops = 0;
  double bytes = 0;  // read and written once each, weights included, KV at its full page
};

/// Facts about one op. Rows live in ops.cc in enum order.
struct OpSchema {
  Op op;
  std::string_view name;
  std::uint8_t min_in, max_in, n_out;
  bool in_place;  // output 0 may share storage with input 0 (same shape, element by element)
  bool fused;     // made by the fuse pass only
  /// Checks input count, ranks, sizes and dtypes and sets the shapes and dtypes of the outputs.
  Status (*infer)(Graph& graph, Node& node);
  /// Appends the equivalent primitive nodes to `graph`, which write the same outputs. Null:
  /// primitive.
  void (*decompose)(Graph& graph, const Node& node);
  OpCost (*cost)(const Graph& graph, const Node& node);
};

/// The schema row of `op`.
const OpSchema& schema(Op op);

}  // namespace runnel
