// y = x W^T for one quantised format with many tokens. 32 weight rows are unpacked once into a
// panel, which meets tiles of tokens.
#pragma once
#include "backends/cpu/isa/panel_avx512.h"
#include "backends/cpu/isa/panel_blocks.h"

#if RUNNEL_SIMD_BITS >= 256 || defined(__ARM_FEATURE_DOTPROD)
namespace runnel::cpu::RUNNEL_ISA {

template <class Format>
void pack_panel(const uint8_t* w, int64_t w_stride, int64_t n_rows, int64_t k, void* panel) {
  const PanelOrder order(k / Format::kGroup);
  alignas(64) uint8_t rest[16][kBytes<Format>];
  for (int64_t row = 0; row < kPanelRows; row += 16)
    for (int64_t first = 0; first < order.n_groups; first += 16) {
      const uint8_t* rows[16];
      const int64_t left = k - first * Format::kGroup;
      for (int64_t r = 0; r < 16; ++r) {
        rows[r] = w + (row + r) * w_stride + first / 16 * kBytes<Format>;
        if (row + r < n_rows && left >= kValues<Format>) continue;
        memset(rest[r], 0, sizeof rest[r]);  // missing rows and blocks have scale zero
        if (row + r < n_rows)
          memcpy(rest[r], rows[r],
                 static_cast<size_t>(left / Format::kBlockValues * Format::kBlockBytes));
        rows[r] = rest[r];
      }
      pack_chunk<Format>(rows, row, first, order, static_cast<uint8_t*>(panel));
    }
}

template <class Format>
void panel(const PanelTask& task) {
  if (task.n_tokens > 4) return multiply_panel<Format, 6>(task);
  if (task.n_tokens > 2) return multiply_panel<Format, 4>(task);
  multiply_panel<Format, 2>(task);
}

}  // namespace runnel::cpu::RUNNEL_ISA

#define RUNNEL_PRODUCTS(Format)                                                       \
  template void matmul_rows<Format>(const MatmulTask&);                               \
  template void pack_panel<Format>(const uint8_t*, int64_t, int64_t, int64_t, void*); \
  template void panel<Format>(const PanelTask&);                                      \
  static_assert(kPanelGroupBytes<Format> <= panel_bytes(Fast::q8_0, Format::kGroup));
#else
#define RUNNEL_PRODUCTS(Format) template void matmul_rows<Format>(const MatmulTask&);
#endif
