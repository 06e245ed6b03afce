// kv_append: stores k and v of each token at its position. attention: tasks are (KV head, tile of
// tokens); later tiles see more keys and are handed out first.
#include <cstring>

#include "backends/cpu/steps/steps.h"

namespace runnel::cpu::steps {
namespace {

std::int64_t tile_tokens(const AttentionAttr& attr) {
  return std::max<std::int64_t>(1, kAttentionRows / (attr.n_heads / attr.n_kv_heads));
}

}  // namespace

void kv_append(const Step& step, const StepContext& context) {
  const std::int64_t pos = context.params.kv_pos(), n_tokens = context.params.n_tokens;
  const std::int64_t n_heads = step.in[2].shape[0], dh = step.in[2].cols();
  const std::int64_t skip = std::clamp<std::int64_t>(
      std::int64_t{context.params.kv_keep} - context.params.pos, 0, n_tokens);
  const Range units = context.share((n_tokens - skip) * n_heads);
  for (std::size_t i = 0; i < 2; ++i) {  // K, then V
    const Operand &x = step.in[i], &state = step.in[2 + i];
    const StateBinding& binding = context.state(state);
    for (std::int64_t u = units.begin; u < units.end; ++u) {
      const std::int64_t t = skip + u / n_heads, g = u % n_heads, position = pos + t;
      std::byte* page = binding.host_pages[static_cast<std::size_t>(position / kPageTokens)];
      std::byte* dst = page + (g * kPageTokens + position % kPageTokens) * state.row_bytes();
      const float* src = x.row(t) + g * dh;
      if (state.dtype == DType::f16)
        step.kernels->to_f16(src, dst, dh);
      else
        std::memcpy(dst, src, static_cast<std::size_t>(state.row_bytes()));
    }
  }
}

Scratch attention_scratch(const Graph&, const Node& node) {
  const AttentionAttr* attr = std::get_if<AttentionAttr>(&node.attr);
  if (attr == nullptr) return {};
  // The widest register decides the padding, so every level fits.
  const std::int64_t dim = (attr->head_dim + 15) / 16 * 16;
  const std::int64_t rows = tile_tokens(*attr) * (attr->n_heads / attr->n_kv_heads) + 16;
  Scratch scratch;
  scratch.own = sizeof(float) * static_cast<std::size_t>(2 * rows * dim + rows * kPage + 3 * rows +
                                                         2 * kPage * dim);
  return scratch;
}

void attention(const Step& step, const StepContext& context) {
  const Operand &q = step.in[0], &k = step.in[1], &v = step.in[2], &out = step.out[0];
  const auto& attr = step.attr_as<AttentionAttr>();
  const std::int64_t n_tokens = context.params.n_tokens, per_tile = tile_tokens(attr);
  const std::int64_t tiles = (n_tokens + per_tile - 1) / per_tile;
  AttentionTask task{};
  task.row_stride = q.cols();
  task.group = attr.n_heads / attr.n_kv_heads;
  task.head_dim = attr.head_dim;
  task.window = attr.window;
  task.k_page = reinterpret_cast<const void* const*>(context.state(k).host_pages.data());
  task.v_page = reinterpret_cast<const void* const*>(context.state(v).host_pages.data());
  task.half_pages = k.dtype == DType::f16;
  task.scale = attr.scale;
  task.scratch = reinterpret_cast<float*>(context.own);
  for (std::int64_t i; (i = context.take_task()) < tiles * attr.n_kv_heads;) {
    const std::int64_t tile = tiles - 1 - i / attr.n_kv_heads, g = i % attr.n_kv_heads;
    const std::int64_t first = tile * per_tile, column = g * task.group * task.head_dim;
    task.q = q.row(first) + column;
    task.out = out.row(first) + column;
    task.n_tokens = std::min(per_tile, n_tokens - first);
    task.pos = context.params.kv_pos() + first;
    task.head_offset = g * kPage * task.head_dim;
    step.kernels->attention(task);
  }
}

}  // namespace runnel::cpu::steps
