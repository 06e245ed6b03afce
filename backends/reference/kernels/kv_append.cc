// kv_append: stores k and v of each token at its position, in f32 or rounded to f16. Positions
// below kv_keep stay as they are.
#include <algorithm>
#include <cstring>

#include "backends/reference/kernels/kernels.h"
#include "backends/reference/kernels/kv_page.h"
#include "quant/half.h"

namespace runnel::reference::kernels {
namespace {

void store(std::byte* dst, const float* src, std::int64_t n, DType dtype) {
  if (dtype == DType::f32) {
    std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(float));
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint16_t half = quant::f32_to_f16(src[i]);
    std::memcpy(dst + i * std::int64_t{sizeof(half)}, &half, sizeof(half));
  }
}

}  // namespace

Status kv_append(const Step& step, const StepContext& context) {
  const std::int64_t pos = context.params.kv_pos(), end = pos + context.params.n_tokens;
  const std::int64_t kept = std::int64_t{context.params.kv_keep} - context.params.kv_gap;
  const std::int64_t first = std::max(pos, kept);
  for (std::size_t i = 0; i < 2; ++i) {  // K, then V
    const Operand &x = step.in[i], &state = step.in[2 + i];
    const StateBinding& binding = context.state(state);
    RUNNEL_TRY(check_pages(binding, first, end));
    for (std::int64_t position = first; position < end; ++position)
      for (std::int64_t g = 0; g < state.shape[0]; ++g)
        store(kv_row(binding, state, position, g), x.row(position - pos) + g * state.cols(),
              state.cols(), state.dtype);
  }
  return {};
}

}  // namespace runnel::reference::kernels
