// Products of packed weights with many tokens: activations are packed in tiles of tokens,
// weights in panels of rows, once per task; then every panel meets every tile.
#pragma once
#include "backends/cpu/steps/product.h"

namespace runnel::cpu {

/// From this many tokens on. Packing a panel costs about as much as multiplying it with 3 tokens.
inline constexpr std::int64_t kPanelMinTokens = 8;

inline bool takes_panels(const Step& step, std::int64_t n_tokens) {
  return n_tokens >= kPanelMinTokens && !takes_library(step, n_tokens) &&
         step.kernels->panel[static_cast<std::size_t>(step.format)] != nullptr;
}

/// Panels of one task. They stay in the L2 cache while all tokens pass.
std::int64_t panels_per_task(Fast format, std::int64_t k);

/// Bytes of all tiles for `max_rows` rows of x, in shared scratch.
std::size_t tiles_bytes(Fast format, std::int64_t k, std::int64_t max_rows);
/// Scratch of a thread: rows on their way into tiles, later panels and sums.
std::size_t panel_scratch_bytes(Fast format, std::int64_t k);

/// This thread's part of packing n_rows rows of x into tiles; the caller then waits at the barrier.
void pack_tiles(const Step& step, const StepContext& context, std::int64_t n_rows, std::byte* dst);

/// y[t][n - first] for the weight rows [first, first + n_rows) and all tokens.
struct PanelProduct {
  std::int64_t first, n_rows;  // n_rows <= panels_per_task() * kPanelRows
  const std::byte* tiles;
  std::int64_t n_tokens;
  float* y;
  std::int64_t y_stride;  // floats
  std::byte* scratch;     // panel_scratch_bytes()
};
void multiply_panels(const Step& step, const Operand& w, const PanelProduct& product);
/// The same for gate and up rows, y = silu(gate) * up; n_rows at most half as many.
void multiply_swiglu_panels(const Step& step, const PanelProduct& product);

}  // namespace runnel::cpu
