// Blocks of 256: part scales as small integers under one or two f16 scales.
// First each part is fitted alone, which gives the f16 scales; then, in turn, the integers are
// chosen anew among their neighbours by squared error, and the f16 scales by least squares over the
// whole block. The best block met is kept.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "quant/half.h"
#include "quant/rounding.h"
#include "quant/search.h"

namespace runnel::quant {
namespace {

constexpr int kRounds = 2;  // a third takes 0.02 (q3_k) to 0.21 % (q5_k) off the error

template <class Round>
class ScaledFitter {
 public:
  ScaledFitter(const Samples& samples,
               const Levels& levels,
               const PartScales& shape,
               const Candidates& candidates)
      : samples_(samples),
        round_(levels),
        levels_(levels),
        shape_(shape),
        length_(kMaxBlock / shape.parts) {
    for (int j = 0; j < shape.parts; ++j)
      ideal_[j] = search_scale(x(j), w(j), length_, levels, candidates);
  }

  ScaledBlock fit() {
    float extreme = 0;
    for (int j = 0; j < shape_.parts; ++j)
      if (std::fabs(ideal_[j]) > std::fabs(extreme)) extreme = ideal_[j];
    ScaledBlock best;
    float best_gain = -1;
    if (extreme != 0) {
      float start = extreme / static_cast<float>(shape_.lowest);
      for (int round = 0; round < kRounds; ++round) {
        ScaledBlock block;
        block.d = scale_bits(start);
        const Sums sums = choose_scales(block);
        const float d = f16_to_f32(block.d);
        const float gain = d * (2 * sums.xl - d * sums.ll);
        if (!(gain > best_gain)) break;
        best = block;
        best_gain = gain;
        if (!(sums.ll > 0)) break;
        start = sums.xl / sums.ll;
      }
    }
    for (int j = 0; j < shape_.parts; ++j)
      choose_codes(x(j), length_, f16_to_f32(best.d) * static_cast<float>(best.scales[j]), levels_,
                   best.codes + j * length_);
    return best;
  }

 private:
  using Sums = ScaleSums;  // over the whole block, levels multiplied by their integer scale

  const float* x(int part) const { return samples_.x + part * length_; }
  const float* w(int part) const { return samples_.w + part * length_; }

  Sums choose_scales(ScaledBlock& block) const {
    const float d = f16_to_f32(block.d);
    Sums total;
    for (int j = 0; j < shape_.parts; ++j) {
      const int middle = static_cast<int>(std::lround(std::clamp(
          ideal_[j] / d, static_cast<float>(shape_.lowest), static_cast<float>(shape_.highest))));
      float best_gain = 0;  // of scale 0
      Sums best;
      for (int candidate = middle - 1; candidate <= middle + 1; ++candidate) {
        if (candidate < shape_.lowest || candidate > shape_.highest || candidate == 0) continue;
        const auto integer = static_cast<float>(candidate);
        const float scale = d * integer;
        const Sums sums = scale_sums(x(j), w(j), length_, 1.0f / scale, round_);
        const float gain = scale * (2 * sums.xl - scale * sums.ll);
        if (!(gain > best_gain)) continue;
        best_gain = gain;
        block.scales[j] = static_cast<std::int8_t>(candidate);
        best = {integer * sums.xl, integer * integer * sums.ll};
      }
      total.xl += best.xl;
      total.ll += best.ll;
    }
    return total;
  }

  const Samples& samples_;
  Round round_;
  const Levels& levels_;
  const PartScales& shape_;
  int length_;
  float ideal_[16] = {};
};

}  // namespace

ScaledBlock fit_scaled_block(const Samples& samples,
                             const Levels& levels,
                             const PartScales& shape,
                             const Candidates& candidates) {
  if (levels.codebook != nullptr)
    return ScaledFitter<CodebookRound>(samples, levels, shape, candidates).fit();
  return ScaledFitter<EvenRound>(samples, levels, shape, candidates).fit();
}

namespace {

// Sums over a block of u = scale * code and v = minimum, for x ~ d * u - dmin * v.
struct PairSums {
  double uu = 0;
  double uv = 0;
  double vv = 0;
  double xu = 0;
  double xv = 0;

  void add(const PairSums& other) {
    uu += other.uu;
    uv += other.uv;
    vv += other.vv;
    xu += other.xu;
    xv += other.xv;
  }
  double gain(double d, double dmin) const {
    return d * (2 * xu - d * uu + 2 * dmin * uv) - dmin * (2 * xv + dmin * vv);
  }
};

class AffineFitter {
 public:
  AffineFitter(const Samples& samples, int parts, int last, int highest)
      : samples_(samples),
        parts_(parts),
        last_(last),
        highest_(highest),
        length_(kMaxBlock / parts) {
    for (int j = 0; j < parts; ++j) {
      ideal_[j] = search_affine(x(j), w(j), length_, last, Offset::not_positive);
      for (int i = 0; i < length_; ++i) {
        sum_w_[j] += w(j)[i];
        sum_x_[j] += w(j)[i] * x(j)[i];
      }
    }
  }

  AffineBlock fit() {
    float scale = 0;
    float minimum = 0;
    for (int j = 0; j < parts_; ++j) {
      scale = std::max(scale, ideal_[j].scale);
      minimum = std::max(minimum, -ideal_[j].offset);
    }
    float d = scale / static_cast<float>(highest_);
    float dmin = minimum / static_cast<float>(highest_);
    AffineBlock best;
    double best_gain = -1;
    for (int round = 0; round < kRounds; ++round) {
      AffineBlock block;
      block.d = scale_bits(d);
      block.dmin = scale_bits(dmin);
      const PairSums sums = choose_pairs(block);
      const double gain = sums.gain(f16_to_f32(block.d), f16_to_f32(block.dmin));
      if (!(gain > best_gain)) break;
      best = block;
      best_gain = gain;
      const double determinant = sums.uu * sums.vv - sums.uv * sums.uv;
      if (!(determinant > 1e-9 * sums.uu * sums.vv)) break;
      d = static_cast<float>((sums.xu * sums.vv - sums.xv * sums.uv) / determinant);
      dmin = static_cast<float>((sums.xu * sums.uv - sums.xv * sums.uu) / determinant);
      if (!(d > 0) || !(dmin >= 0)) break;
    }
    for (int j = 0; j < parts_; ++j)
      choose_affine_codes(x(j), length_, decoded(best, j), last_, best.codes + j * length_);
    return best;
  }

 private:
  const float* x(int part) const { return samples_.x + part * length_; }
  const float* w(int part) const { return samples_.w + part * length_; }

  static Affine decoded(const AffineBlock& block, int part) {
    return {f16_to_f32(block.d) * static_cast<float>(block.scales[part]),
            -f16_to_f32(block.dmin) * static_cast<float>(block.minimums[part])};
  }

  // Fills block.scales and block.minimums of every part.
  PairSums choose_pairs(AffineBlock& block) const {
    PairSums total;
    for (int j = 0; j < parts_; ++j) {
      const int scale = nearest(ideal_[j].scale, f16_to_f32(block.d));
      const int minimum = nearest(-ideal_[j].offset, f16_to_f32(block.dmin));
      double best_gain = -std::numeric_limits<double>::infinity();
      PairSums best;
      for (int s = std::max(scale - 1, 0); s <= std::min(scale + 1, highest_); ++s)
        for (int m = std::max(minimum - 1, 0); m <= std::min(minimum + 1, highest_); ++m) {
          const PairSums sums = pair_sums(block, j, s, m);
          const double gain = sums.gain(f16_to_f32(block.d), f16_to_f32(block.dmin));
          if (!(gain > best_gain)) continue;
          best_gain = gain;
          best = sums;
          block.scales[j] = static_cast<std::uint8_t>(s);
          block.minimums[j] = static_cast<std::uint8_t>(m);
        }
      total.add(best);
    }
    return total;
  }

  int nearest(float value, float unit) const {
    if (unit == 0) return 0;
    return static_cast<int>(
        std::lround(std::clamp(value / unit, 0.0f, static_cast<float>(highest_))));
  }

  PairSums pair_sums(const AffineBlock& block, int part, int scale, int minimum) const {
    const float step = f16_to_f32(block.d) * static_cast<float>(scale);
    const float origin = -f16_to_f32(block.dmin) * static_cast<float>(minimum);
    const float inverse = step != 0 ? 1.0f / step : 0.0f;
    const AffineSums s = affine_sums(x(part), w(part), length_, inverse, origin, last_);
    const double a = scale;
    const double b = minimum;
    return {a * a * s.cc, a * b * s.c, b * b * sum_w_[part], a * s.xc, b * sum_x_[part]};
  }

  const Samples& samples_;
  int parts_;
  int last_;
  int highest_;
  int length_;
  Affine ideal_[16] = {};
  float sum_w_[16] = {};
  float sum_x_[16] = {};
};

}  // namespace

AffineBlock fit_affine_block(const Samples& samples, int parts, int last, int highest) {
  return AffineFitter(samples, parts, last, highest).fit();
}

}  // namespace runnel::quant
