// Scale search of the tile formats with few levels. One spread that fits Gaussian vectors is far
// off for a vector with one large value, which the transform turns into values of nearly equal size
// near the middle between two levels: six spreads are tried, and least squares decides.
#include <algorithm>
#include <cmath>

#include "quant/half.h"
#include "quant/kv_tile.h"

namespace runnel::quant {
namespace {

constexpr int kLanes = 16;  // chains of every sum over a vector
constexpr float kSpreads[] = {0.76f, 0.86f, 0.96f, 1.06f, 1.18f, 1.34f};
constexpr float kLargest = 65504.0f;

/// Sum of 16 chains, by halves.
float reduce(float (&lanes)[kLanes]) {
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

struct Sizes {
  float magnitude[kKvChannels];
  bool negative[kKvChannels];
};

Sizes sizes_of(const float* x) {
  Sizes sizes;
  for (int i = 0; i < kKvChannels; ++i) {
    const float size = std::fabs(x[i]);
    sizes.magnitude[i] = size < kLargest ? size : kLargest;  // NaN too
    sizes.negative[i] = x[i] < 0.0f;
  }
  return sizes;
}

float root_mean_square(const Sizes& sizes) {
  float lanes[kLanes] = {};
  for (int i = 0; i < kKvChannels; ++i)
    lanes[i % kLanes] += sizes.magnitude[i] * sizes.magnitude[i];
  return std::sqrt(reduce(lanes) / static_cast<float>(kKvChannels));
}

/// Nearest levels (of one sign) of all values when the levels are spread by 1 / step.
struct Fit {
  std::uint8_t index[kKvChannels];
  float products = 0;  // sum of level * magnitude
  float squares = 0;   // sum of level^2: exact
};

Fit fit(const Sizes& sizes, const KvLevels& levels, float step) {
  Fit result;
  float lanes[kLanes] = {};
  std::int32_t squares = 0;
  for (int i = 0; i < kKvChannels; ++i) {
    const float at = sizes.magnitude[i] * step;
    int index = 0;
    for (int l = 0; l + 1 < levels.n; ++l)
      index += at >= 0.5f * static_cast<float>(levels.level[l] + levels.level[l + 1]);
    const std::int8_t level = levels.level[index];
    result.index[i] = static_cast<std::uint8_t>(index);
    lanes[i % kLanes] += static_cast<float>(level) * sizes.magnitude[i];
    squares += level * level;
  }
  result.products = reduce(lanes);
  result.squares = static_cast<float>(squares);
  return result;
}

}  // namespace

KvVector encode_kv_levels(const float* x, const KvLevels& levels) {
  const Sizes sizes = sizes_of(x);
  const float rms = root_mean_square(sizes);
  Fit best = {};
  best.squares = 1.0f;
  if (rms > 0.0f) {
    float most = -1.0f;
    for (const float spread : kSpreads) {
      const Fit tried = fit(sizes, levels, 127.0f / (levels.unit * (rms * spread)));
      const float gain = tried.products * tried.products / tried.squares;
      if (!(gain > most)) continue;
      most = gain;
      best = tried;
    }
  }
  KvVector vector;
  vector.scale = f32_to_f16(std::min(best.products / best.squares, kLargest));
  for (int i = 0; i < kKvChannels; ++i)
    vector.codes[i] = static_cast<std::uint8_t>(sizes.negative[i] ? levels.n - 1 - best.index[i]
                                                                  : levels.n + best.index[i]);
  return vector;
}

}  // namespace runnel::quant
