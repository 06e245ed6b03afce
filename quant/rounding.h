// Rounding to levels, and the sums over a block that weighted least squares needs. The inner loops
// of every encoder. Stateless. Internal to quant/.
#pragma once
#include <cmath>
#include <cstdint>

#include "quant/search.h"

namespace runnel::quant {

/// v rounded to the nearest integer, ties to even. REQUIRES: |v| < 2^22.
inline float round_nearest(float v) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: the sum has no bits left for a fraction
  return (v + kMagic) - kMagic;
}

/// Evenly spaced levels.
class EvenRound {
 public:
  explicit EvenRound(const Levels& levels)
      : first_(static_cast<float>(levels.first)), last_(static_cast<float>(levels.last)) {}
  float operator()(float v) const {
    const float above = v < first_ ? first_ : v;
    return round_nearest(above > last_ ? last_ : above);
  }
  std::uint8_t code(float v) const {
    return static_cast<std::uint8_t>(static_cast<int>((*this)(v)-first_));
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
  float operator()(float v) const { return static_cast<float>(codebook_[code(v)]); }
  std::uint8_t code(float v) const {
    const float above = v < -128.0f ? -128.0f : v;
    const float bounded = above > 127.5f ? 127.5f : above;
    return nearest_[static_cast<int>(2 * bounded + 256)];
  }

 private:
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
  float xl[4] = {};
  float ll[4] = {};
  for (int i = 0; i < n; i += 4)
    for (int lane = 0; lane < 4; ++lane) {
      const float level = round(x[i + lane] * inverse);
      const float weighted = w[i + lane] * level;
      xl[lane] += weighted * x[i + lane];
      ll[lane] += weighted * level;
    }
  return {(xl[0] + xl[1]) + (xl[2] + xl[3]), (ll[0] + ll[1]) + (ll[2] + ll[3])};
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
  float c[4] = {};
  float cc[4] = {};
  float xc[4] = {};
  for (int i = 0; i < n; i += 4)
    for (int lane = 0; lane < 4; ++lane) {
      const float code = round((x[i + lane] - origin) * inverse);
      const float weighted = w[i + lane] * code;
      c[lane] += weighted;
      cc[lane] += weighted * code;
      xc[lane] += weighted * x[i + lane];
    }
  return {(c[0] + c[1]) + (c[2] + c[3]), (cc[0] + cc[1]) + (cc[2] + cc[3]),
          (xc[0] + xc[1]) + (xc[2] + xc[3])};
}

}  // namespace runnel::quant
