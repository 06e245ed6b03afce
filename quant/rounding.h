// Rounding to levels, and the sums over a block that weighted least squares needs. The inner loops
// of every encoder. Stateless. Internal to quant/.
#pragma once
#include <cstdint>
#include <cstring>

#include "quant/search.h"

namespace runnel::quant {

/// Four values side by side: a GNU vector, so that the compiler need not guess.
using Lanes = float __attribute__((vector_size(16)));

inline Lanes load_lanes(const float* x) {
  Lanes lanes;
  std::memcpy(&lanes, x, sizeof(lanes));
  return lanes;
}

inline Lanes all_lanes(float v) {
  return Lanes{v, v, v, v};
}

inline float sum_lanes(Lanes v) {
  return (v[0] + v[1]) + (v[2] + v[3]);
}

/// v rounded to the nearest integer, ties to even. REQUIRES: |v| < 2^22.
template <class T>
T round_nearest(T v) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: the sum has no bits left for a fraction
  return (v + kMagic) - kMagic;
}

/// Evenly spaced levels.
class EvenRound {
 public:
  explicit EvenRound(const Levels& levels)
      : first_(static_cast<float>(levels.first)), last_(static_cast<float>(levels.last)) {}
  Lanes operator()(Lanes v) const {
    const Lanes first = all_lanes(first_);
    const Lanes last = all_lanes(last_);
    const Lanes above = v > first ? v : first;
    return round_nearest(above < last ? above : last);
  }
  std::uint8_t code(float v) const {
    const float above = v > first_ ? v : first_;
    return static_cast<std::uint8_t>(
        static_cast<int>(round_nearest(above < last_ ? above : last_) - first_));
  }

 private:
  float first_;
  float last_;
};

/// Levels of a codebook. Midpoints between levels are multiples of 1/2, so a table over half steps
/// finds the nearest level exactly.
class CodebookRound {
 public:
  explicit CodebookRound(const Levels& levels)
      : codebook_(levels.codebook), nearest_(levels.nearest) {}
  Lanes operator()(Lanes v) const {
    return Lanes{level(v[0]), level(v[1]), level(v[2]), level(v[3])};
  }
  std::uint8_t code(float v) const {
    const float above = v > -128.0f ? v : -128.0f;
    return nearest_[static_cast<int>(2 * (above < 127.5f ? above : 127.5f) + 256)];
  }

 private:
  float level(float v) const { return codebook_[code(v)]; }

  const std::int8_t* codebook_;
  const std::uint8_t* nearest_;
};

struct ScaleSums {
  float xl = 0;  // sum of w * x * level
  float ll = 0;  // sum of w * level^2
};

/// Sums over the levels nearest to x * inverse. n: multiple of 4.
template <class Round>
ScaleSums scale_sums(const float* x, const float* w, int n, float inverse, const Round& round) {
  Lanes xl = all_lanes(0);
  Lanes ll = all_lanes(0);
  for (int i = 0; i < n; i += 4) {
    const Lanes values = load_lanes(x + i);
    const Lanes level = round(values * inverse);
    const Lanes weighted = load_lanes(w + i) * level;
    xl += weighted * values;
    ll += weighted * level;
  }
  return {sum_lanes(xl), sum_lanes(ll)};
}

struct AffineSums {
  float c = 0;   // sum of w * code
  float cc = 0;  // sum of w * code^2
  float xc = 0;  // sum of w * x * code
};

/// Sums over the codes 0..last nearest to (x - origin) * inverse. n: multiple of 4.
inline AffineSums affine_sums(
    const float* x, const float* w, int n, float inverse, float origin, int last) {
  const EvenRound round(Levels{0, last});
  Lanes c = all_lanes(0);
  Lanes cc = all_lanes(0);
  Lanes xc = all_lanes(0);
  for (int i = 0; i < n; i += 4) {
    const Lanes values = load_lanes(x + i);
    const Lanes code = round((values - origin) * inverse);
    const Lanes weighted = load_lanes(w + i) * code;
    c += weighted;
    cc += weighted * code;
    xc += weighted * values;
  }
  return {sum_lanes(c), sum_lanes(cc), sum_lanes(xc)};
}

}  // namespace runnel::quant
