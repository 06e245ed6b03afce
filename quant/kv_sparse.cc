#include "quant/kv_sparse.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "quant/half.h"
#include "quant/kv_codecs.h"

namespace runnel::quant {
namespace {

void put(std::byte* summary, std::int64_t i, float value) {
  const std::uint16_t half = f32_to_f16(value);
  std::memcpy(summary + i * std::int64_t{sizeof(half)}, &half, sizeof(half));
}

}  // namespace

void kv_summarise(KvFormat format,
                  const std::byte* blocks,
                  std::int64_t head_dim,
                  std::byte* summary) {
  std::array<float, kKvBlockTokens> squares{};  // distance of each key from the mean
  std::array<float, kKvBlockTokens * kKvChannels> keys;
  for (std::int64_t first = 0; first < head_dim; first += kKvChannels) {
    auto* block = const_cast<std::byte*>(blocks) +
                  static_cast<std::size_t>(first / kKvChannels) * kv_block_bytes(format);
    for (int t = 0; t < kKvBlockTiles; ++t)
      kv_codec(format).decode_tile(KvRole::k, kv_tile_codes(format, block, t),
                                   kv_tile_scales(format, block, t),
                                   keys.data() + t * kKvTileTokens * kKvChannels);
    for (std::size_t c = 0; c < kKvChannels; ++c) {
      float sum = 0;
      for (std::size_t t = 0; t < kKvBlockTokens; ++t) sum += keys[t * kKvChannels + c];
      const float mean = sum / kKvBlockTokens;
      put(summary, first + static_cast<std::int64_t>(c), mean);
      for (std::size_t t = 0; t < kKvBlockTokens; ++t) {
        const float off = keys[t * kKvChannels + c] - mean;
        squares[t] += off * off;
      }
    }
  }
  put(summary, head_dim, std::sqrt(*std::ranges::max_element(squares)));
  for (std::int64_t i = head_dim + 1; i < kv_summary_values(head_dim); ++i) put(summary, i, 0);
}

std::int32_t unite_pages(std::span<std::int32_t> pages) {
  std::ranges::sort(pages);
  return static_cast<std::int32_t>(std::unique(pages.begin(), pages.end()) - pages.begin());
}

}  // namespace runnel::quant
