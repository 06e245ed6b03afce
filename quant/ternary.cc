// Exact search for one ternary scale.
#include "quant/ternary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "quant/half.h"

namespace runnel::quant {

TernaryBlock fit_ternary(const Samples& samples) {
  // For any d the values away from 0 are those with |x| > d / 2: the largest ones. So the optimum
  // is among the 256 cuts of the values in falling order, each with its least squares scale.
  struct Entry {
    float magnitude;
    float weight;
  };
  std::array<Entry, kMaxBlock> entries;
  for (std::size_t i = 0; i < kMaxBlock; ++i) entries[i] = {std::fabs(samples.x[i]), samples.w[i]};
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.magnitude > b.magnitude; });
  double sum_x = 0;
  double sum_w = 0;
  double best_gain = 0;
  double scale = 0;
  for (const Entry& entry : entries) {
    sum_x += static_cast<double>(entry.weight) * entry.magnitude;
    sum_w += entry.weight;
    if (!(sum_x * sum_x > best_gain * sum_w)) continue;
    best_gain = sum_x * sum_x / sum_w;
    scale = sum_x / sum_w;
  }
  TernaryBlock block;
  block.d = scale_bits(static_cast<float>(scale));
  choose_codes(samples.x, kMaxBlock, f16_to_f32(block.d), Levels{-1, 1}, block.codes);
  return block;
}

}  // namespace runnel::quant
