// attention: softmax(scale * q k^T) v over positions 0..pos of the row (or the last `window` of
// them); query head h uses KV head h / (H/G). Online softmax: keys come in ascending order and
// the running maximum, sum and weighted values of each (row, head) are rescaled when the maximum
// grows, so no score is stored. Each key is decoded once per step. 4*T*H*dh*kv_len flops.
#include <algorithm>
#include <limits>

#include "backends/reference/kernels/kernels.h"
#include "backends/reference/kernels/kv_page.h"
#include "backends/reference/kernels/row_math.h"
#include "backends/reference/kernels/running.h"

namespace runnel::reference::kernels {

std::int64_t attention_scratch(const Graph& graph, const Node& node) {
  const AttentionAttr* attr = std::get_if<AttentionAttr>(&node.attr);
  return attr ? 2 * (attr->head_dim + graph.max_tokens() * attr->n_heads) : 0;
}

Status attention(const Step& step, const StepContext& context) {
  const Operand &q = step.in[0], &k_state = step.in[1], &v_state = step.in[2], &out = step.out[0];
  const auto& attr = step.attr_as<AttentionAttr>();
  const std::int64_t pos = context.params.kv_pos(), n_tokens = context.params.n_tokens;
  const std::int64_t dh = attr.head_dim, n_heads = attr.n_heads;
  const std::int64_t group = n_heads / attr.n_kv_heads;
  const std::int64_t window = attr.window > 0 ? attr.window : pos + n_tokens;
  const std::int64_t first_key = std::max<std::int64_t>(0, pos - window + 1);
  const StateBinding &k_pages = context.state(k_state), &v_pages = context.state(v_state);
  RUNNEL_TRY(check_pages(k_pages, first_key, pos + n_tokens));
  RUNNEL_TRY(check_pages(v_pages, first_key, pos + n_tokens));

  float *k = context.scratch, *v = context.scratch + dh;
  auto* running = reinterpret_cast<Running*>(context.scratch + 2 * dh);  // [n_tokens, n_heads]
  std::fill_n(running, n_tokens * n_heads, Running{-std::numeric_limits<float>::infinity(), 0});
  std::fill_n(out.row(0), n_tokens * out.cols(), 0.0f);
  const quant::Codec& codec = quant::codec(k_state.dtype);
  for (std::int64_t g = 0; g < attr.n_kv_heads; ++g) {
    for (std::int64_t key = first_key; key < pos + n_tokens; ++key) {
      codec.decode_row(kv_row(k_pages, k_state, key, g), k, dh);
      codec.decode_row(kv_row(v_pages, v_state, key, g), v, dh);
      const std::int64_t end = std::min(n_tokens, key + window - pos);  // the window has passed
      for (std::int64_t t = std::max<std::int64_t>(0, key - pos); t < end; ++t)
        for (std::int64_t h = g * group; h < (g + 1) * group; ++h)
          add_key(running[t * n_heads + h], out.row(t) + h * dh,
                  attr.scale * dot(q.row(t) + h * dh, k, dh), v, dh);
    }
  }
  for (std::int64_t t = 0; t < n_tokens; ++t)
    for (std::int64_t c = 0; c < n_heads * dh; ++c)
      out.row(t)[c] /= running[t * n_heads + c / dh].sum;
  return {};
}

}  // namespace runnel::reference::kernels
