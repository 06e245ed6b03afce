// What the row kernels of all widths share: how weights of one format meet rows of Chunks.
#pragma once
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {

/// Values of 16 groups, in blocks of the file.
template <class Format>
constexpr int64_t kValues = 16 * Format::kGroup;
template <class Format>
constexpr int64_t kBytes = kValues<Format> / Format::kBlockValues* Format::kBlockBytes;

/// Bytes of a packed panel's group: values, scales, perhaps minimums.
template <class Format>
constexpr int64_t kPanelGroupBytes = kPanelRows*(Format::kGroup + (Format::kHasMin ? 8 : 4));
/// Rows of a panel's blocks, where it has blocks, and bytes of a block's group.
constexpr int kBlockRows = 8;
template <class Format>
constexpr int64_t kBlockGroupBytes = kPanelGroupBytes<Format> / (kPanelRows / kBlockRows);

/// Part of a row of Chunks that a weight chunk multiplies.
struct Activations {
  const int8_t* q;
  const float* scale;  // per 32 values
  const int32_t* sum;  // per group
  const float* scaled_sum;
};
/// Formats with a function split() (AVX-512 only) give the nibbles of 4 groups in two registers,
/// first and second halves: as they are in memory, and with half the registers to gather.
template <class Format>
constexpr bool kIsSplit = requires {
  &Format::split;
};
template <class Format>
inline Activations activations(const Chunk* row, int64_t chunk) {
  if constexpr (Format::kGroup == 32) {
    const Chunk& x = row[chunk];
    return {kIsSplit<Format> ? x.split : x.q, x.scale, x.sum, x.scaled_sum};
  }
  const int64_t half = chunk % 2;
  const Chunk& x = row[chunk / 2];
  return {x.q + 256 * half, x.scale + 8 * half, x.half_sum + 16 * half,
          x.scaled_half_sum + 16 * half};
}

}  // namespace runnel::cpu::RUNNEL_ISA
