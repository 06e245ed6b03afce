// Candidate search and weighted least squares for one scale, or one scale and offset.
#include "quant/search.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "quant/half.h"
#include "quant/rounding.h"

namespace runnel::quant {

namespace {
// Values that nobody asked for still get the best of what is left over.
constexpr float kFloor = 1e-12f;
}  // namespace

void load_samples(const float* x, const float* importance, int n, Samples& out) {
  float largest = 0;
  for (int i = 0; i < n; ++i) {
    const float magnitude = std::fabs(x[i]);
    const float kept = magnitude >= 0x1p-26f ? std::min(magnitude, 0x1p40f) : 0.0f;  // NaN -> 0
    out.x[i] = x[i] < 0 ? -kept : kept;
    if (importance != nullptr && importance[i] > largest) largest = importance[i];
  }
  if (!(largest > 0)) {
    std::fill_n(out.w, n, 1.0f);
    return;
  }
  largest = std::min(largest, 0x1p127f);  // an infinite weight counts as the largest finite one
  for (int i = 0; i < n; ++i)
    out.w[i] =
        importance[i] > 0 ? std::max(std::min(importance[i], largest) / largest, kFloor) : kFloor;
}

std::uint16_t scale_bits(float scale) {
  const std::uint16_t bits = f32_to_f16(std::clamp(scale, -65504.0f, 65504.0f));
  const bool subnormal = std::fabs(scale) < 0x1p-14f;
  if (subnormal && std::fabs(f16_to_f32(bits)) < std::fabs(scale))
    return static_cast<std::uint16_t>(bits + 1);
  return bits;
}

namespace {

// Values that weigh less than this set no range: an unimportant outlier must not stretch it.
float least_counted(const float* w, int n) {
  return 1e-6f * *std::max_element(w, w + n);
}

}  // namespace

float largest_counted(const float* x, const float* w, int n) {
  const float least = least_counted(w, n);
  float largest = 0;
  for (int i = 0; i < n; ++i)
    if (w[i] >= least) largest = std::max(largest, std::fabs(x[i]));
  return largest;
}

namespace {

// The scale for which x ~ scale * level is best when codes are chosen with `inverse`, and the
// squared error it saves compared with decoding everything to 0.
struct Fit {
  float scale = 0;
  float gain = 0;
};

template <class Round>
Fit fit_scale(const float* x, const float* w, int n, float inverse, const Round& round) {
  const ScaleSums sums = scale_sums(x, w, n, inverse, round);
  if (!(sums.ll > 0) || sums.xl * inverse <= 0) return {};
  return {sums.xl / sums.ll, sums.xl * sums.xl / sums.ll};
}

template <class Round>
float search_with(
    const float* x, const float* w, int n, const Levels& levels, const Candidates& candidates) {
  const Round round(levels);
  const auto outermost = static_cast<float>(std::max(-levels.first, levels.last));
  const float largest = largest_counted(x, w, n);
  if (largest == 0) return 0;
  const bool mirrored = levels.first == -levels.last && levels.codebook == nullptr;
  Fit best;
  for (int k = 0; k < candidates.count; ++k) {
    const float inverse =
        outermost * (candidates.from + candidates.step * static_cast<float>(k)) / largest;
    const Fit upright = fit_scale(x, w, n, inverse, round);
    if (upright.gain > best.gain) best = upright;
    if (mirrored) continue;  // the other sign gives the same levels
    const Fit flipped = fit_scale(x, w, n, -inverse, round);
    if (flipped.gain > best.gain) best = flipped;
  }
  for (int repeat = 0; repeat < 4 && best.scale != 0; ++repeat) {
    const Fit fit = fit_scale(x, w, n, 1.0f / best.scale, round);
    if (!(fit.gain > best.gain)) break;
    best = fit;
  }
  return best.scale;
}

}  // namespace

float search_scale(
    const float* x, const float* w, int n, const Levels& levels, const Candidates& candidates) {
  if (levels.codebook != nullptr) return search_with<CodebookRound>(x, w, n, levels, candidates);
  return search_with<EvenRound>(x, w, n, levels, candidates);
}

void choose_codes(const float* x, int n, float scale, const Levels& levels, std::uint8_t* codes) {
  const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
  if (levels.codebook != nullptr) {
    const CodebookRound round(levels);
    for (int i = 0; i < n; ++i) codes[i] = round.code(x[i] * inverse);
    return;
  }
  const EvenRound round(levels);
  for (int i = 0; i < n; ++i) codes[i] = round.code(x[i] * inverse);
}

namespace {

// Weighted least squares for x ~ scale * code + offset with the codes nearest to a guessed line.
struct AffineFit {
  Affine affine;
  float gain = -1;  // squared error saved compared with decoding to 0
};

struct Line {
  const float* x;
  const float* w;
  int n;
  int last;
  Offset rule;
  float sum_w;  // sum of w
  float sum_x;  // sum of w * x
};

AffineFit fit_affine(const Line& line, float inverse, float origin) {
  const AffineSums s = affine_sums(line.x, line.w, line.n, inverse, origin, line.last);
  AffineFit fit;
  const float determinant = line.sum_w * s.cc - s.c * s.c;
  if (determinant > 1e-6f * line.sum_w * s.cc) {
    fit.affine.scale = (line.sum_w * s.xc - line.sum_x * s.c) / determinant;
    fit.affine.offset = (line.sum_x - fit.affine.scale * s.c) / line.sum_w;
  } else {  // all codes equal
    fit.affine.scale = 0;
    fit.affine.offset = line.sum_x / line.sum_w;
  }
  if (line.rule == Offset::not_positive && fit.affine.offset > 0) {
    fit.affine.offset = 0;
    fit.affine.scale = s.cc > 0 ? s.xc / s.cc : 0.0f;
  }
  if (!(fit.affine.scale >= 0)) return {};
  const float a = fit.affine.scale;
  const float b = fit.affine.offset;
  fit.gain = a * (2 * s.xc - a * s.cc - 2 * b * s.c) + b * (2 * line.sum_x - b * line.sum_w);
  return fit;
}

}  // namespace

Affine search_affine(const float* x, const float* w, int n, int last, Offset rule) {
  Line line{x, w, n, last, rule, 0, 0};
  float low = std::numeric_limits<float>::max();
  float high = -low;
  const float least = least_counted(w, n);
  for (int i = 0; i < n; ++i) {
    line.sum_w += w[i];
    line.sum_x += w[i] * x[i];
    if (w[i] < least) continue;
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  if (rule == Offset::not_positive) low = std::min(low, 0.0f);
  if (high == low) return {0, low};

  const float range = high - low;
  AffineFit best;
  const auto levels = static_cast<float>(last);
  for (int k = 0; k < 10; ++k) {
    // The span of the values measured in steps: below `last` leaves codes unused, above clips.
    const float steps = levels + levels * (-0.18f + 0.04f * static_cast<float>(k));
    const float inverse = steps / range;
    const float slack = (steps - levels) / inverse;  // > 0: what is clipped
    for (const float share : {0.0f, 0.5f, 1.0f}) {
      const AffineFit fit = fit_affine(line, inverse, low + share * slack);
      if (fit.gain > best.gain) best = fit;
    }
  }
  for (int repeat = 0; repeat < 4 && best.affine.scale > 0; ++repeat) {
    const AffineFit fit = fit_affine(line, 1.0f / best.affine.scale, best.affine.offset);
    if (!(fit.gain > best.gain)) break;
    best = fit;
  }
  return best.affine;
}

void choose_affine_codes(const float* x, int n, Affine affine, int last, std::uint8_t* codes) {
  const float inverse = affine.scale != 0 ? 1.0f / affine.scale : 0.0f;
  const EvenRound round(Levels{0, last});
  for (int i = 0; i < n; ++i) codes[i] = round.code((x[i] - affine.offset) * inverse);
}

ScaledCodes fit_scaled_codes(const Samples& samples,
                             const Levels& levels,
                             const Candidates& candidates) {
  ScaledCodes best;
  best.d = scale_bits(search_scale(samples.x, samples.w, 32, levels, candidates));
  choose_codes(samples.x, 32, f16_to_f32(best.d), levels, best.codes);
  return best;
}

AffineCodes fit_affine_codes(const Samples& samples, int last) {
  const Affine found = search_affine(samples.x, samples.w, 32, last, Offset::any);
  AffineCodes best;
  best.d = scale_bits(found.scale);
  best.m = scale_bits(found.offset);
  choose_affine_codes(samples.x, 32, {f16_to_f32(best.d), f16_to_f32(best.m)}, last, best.codes);
  return best;
}

}  // namespace runnel::quant
