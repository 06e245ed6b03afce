// Where the rows and tiles of a tiled cache lie, for the kernels that touch it.
#pragma once
#include <algorithm>

#include "backends/reference/kernels/kv_page.h"
#include "quant/half.h"
#include "quant/kv_codecs.h"
#include "quant/kv_sparse.h"

namespace runnel::reference {

/// Keys (or values) of one step beside its window: places before `split` are in the window, the
/// rest are rows of the step. Places are positions less StepParams::kv_gap.
struct KvRows {
  const Operand& step_rows;  // [T, G*dh] f32, rounded to f16 already
  const Operand& window;     // [2G, slots, dh] f16
  const std::byte* stored;
  std::int64_t pos, split, sinks, gap;
  std::int64_t half;  // 0: K, 1: V

  std::int64_t head_dim() const { return window.cols(); }
  std::byte* slot(std::int64_t place, std::int64_t head) const {
    const std::int64_t slots = window.shape[1];
    const std::int64_t row = (half * window.shape[0] / 2 + head) * slots +
                             quant::kv_window_slot(place, slots, sinks, gap);
    return const_cast<std::byte*>(stored) + row * head_dim() * 2;
  }
  /// x [head_dim] <- the f16 row of this place and head.
  void read(std::int64_t place, std::int64_t head, float* x) const {
    const std::int64_t dh = head_dim();
    if (place >= split)
      std::copy_n(step_rows.row(place - pos) + head * dh, dh, x);
    else
      quant::codec(DType::f16).decode_row(slot(place, head), x, dh);
  }
};

/// Rows of keys (half 0) or values (1) of this step; checks that the window is there.
inline Result<KvRows> kv_rows(const StepContext& context,
                              const Operand& step_rows,
                              const Operand& window,
                              std::int64_t sinks,
                              std::int64_t half) {
  const StateBinding& binding = context.state(window);
  if (binding.host_pages.empty() || binding.host_pages[0] == nullptr)
    return Status(Code::invalid_argument, "the window of recent tokens is missing");
  const std::int64_t pos = context.params.kv_pos(), gap = context.params.kv_gap;
  return KvRows{step_rows,
                window,
                binding.host_pages[0],
                pos,
                std::max<std::int64_t>(pos, context.params.kv_keep - gap),
                sinks,
                gap,
                half};
}

/// Block of head `head`, 64 channels number `part`, in the page that holds `place`.
inline std::byte* kv_block(const StateBinding& binding,
                           const Operand& state,
                           std::int64_t place,
                           std::int64_t head,
                           std::int64_t part) {
  const std::int64_t parts = state.cols() / quant::kKvChannels;
  return binding.host_pages[static_cast<std::size_t>(place / kPageTokens)] +
         static_cast<std::size_t>(head * parts + part) * quant::kv_block_bytes(state.kv);
}

}  // namespace runnel::reference
