// Scale search shared by the encoders: given values x and weights w, find the block parameters that
// make sum of w * (x - decoded)^2 small. Every search tries a range of candidate scales, rounds to
// codes, and solves the weighted least squares problem for those codes; plain rounding is only its
// first guess. Stateless, allocates nothing. Internal to quant/.
#pragma once
#include <cstdint>

namespace runnel::quant {

inline constexpr int kMaxBlock = 256;  // largest block of any format, in values

/// The values of one block, cleaned, with one weight each.
struct Samples {
  alignas(16) float x[kMaxBlock];
  alignas(16) float w[kMaxBlock];  // in (0, 1]
};

/// Copies n values. NaN becomes 0; magnitudes are clamped to 2^40 (infinities too) and flushed to 0
/// below 2^-26 (under half the smallest f16), so that no sum of squares overflows or vanishes.
/// Weights: `importance` divided by its maximum, at least 1e-12 (negative and NaN too); uniform
/// where it is null or has no positive entry. Uniform is what minimises the plain squared error.
void load_samples(const float* x, const float* importance, int n, Samples& out);

/// The largest magnitude among the values that weigh at least a millionth of the largest weight:
/// what sets the range of candidate scales.
float largest_counted(const float* x, const float* w, int n);

/// What a code stands for, in units of the scale: first + code for code < n, or an entry of a
/// codebook (16 ascending int8 levels).
struct Levels {
  int first = 0;                          // level of code 0
  int last = 0;                           // level of the largest code
  const std::int8_t* codebook = nullptr;  // code -> level; null: evenly spaced
  const std::uint8_t* nearest = nullptr;  // [512] code nearest to (index - 256) / 2
};

/// Candidate scales: |largest value| is placed at from, from + step, ... (count of them) times the
/// outermost level, with both signs of the scale.
struct Candidates {
  float from;
  float step;
  int count;
};

/// The scale d that makes x ~ d * level best. 0 when all x are 0. n: multiple of 4.
float search_scale(
    const float* x, const float* w, int n, const Levels& levels, const Candidates& candidates);

/// Writes the code of the level nearest to x / scale; with scale 0, the code nearest to level 0.
void choose_codes(const float* x, int n, float scale, const Levels& levels, std::uint8_t* codes);

/// The f16 bits nearest to `scale`, never infinite. Subnormal ones, where steps are coarse, round
/// away from zero: a scale too small clips the largest values, which costs more than one too large.
std::uint16_t scale_bits(float scale);

/// x ~ scale * code + offset.
struct Affine {
  float scale = 0;  // >= 0
  float offset = 0;
};

enum class Offset : std::uint8_t { any, not_positive };

/// The best affine parameters for codes 0..last. n: multiple of 4.
Affine search_affine(const float* x, const float* w, int n, int last, Offset rule);

/// Writes the code nearest to (x - offset) / scale, within 0..last; 0 where scale is 0.
void choose_affine_codes(const float* x, int n, Affine affine, int last, std::uint8_t* codes);

/// x ~ d * level(code) for 32 values.
struct ScaledCodes {
  std::uint16_t d = 0;  // f16
  std::uint8_t codes[32] = {};
};

/// Fits q4_0, q5_0, q8_0 and iq4_nl like blocks.
ScaledCodes fit_scaled_codes(const Samples& samples,
                             const Levels& levels,
                             const Candidates& candidates);

/// x ~ d * code + m for 32 values.
struct AffineCodes {
  std::uint16_t d = 0;  // f16
  std::uint16_t m = 0;  // f16
  std::uint8_t codes[32] = {};
};

/// Fits q4_1 and q5_1 like blocks: codes 0..last.
AffineCodes fit_affine_codes(const Samples& samples, int last);

/// x ~ d * scale[j] * level(code) for the j-th part of a block of 256.
struct ScaledBlock {
  std::uint16_t d = 0;  // f16
  std::int8_t scales[16] = {};
  std::uint8_t codes[kMaxBlock] = {};
};

/// Integer part scales and their number. Parts are equal and cover the 256 values.
struct PartScales {
  int parts;
  int lowest;   // of the integer scales
  int highest;  // of the integer scales
};

/// Fits q3_k, q6_k and iq4_xs like blocks.
ScaledBlock fit_scaled_block(const Samples& samples,
                             const Levels& levels,
                             const PartScales& shape,
                             const Candidates& candidates);

/// x ~ d * scale[j] * code - dmin * minimum[j] for the j-th part of a block of 256.
struct AffineBlock {
  std::uint16_t d = 0;     // f16
  std::uint16_t dmin = 0;  // f16
  std::uint8_t scales[16] = {};
  std::uint8_t minimums[16] = {};
  std::uint8_t codes[kMaxBlock] = {};
};

/// Fits q2_k, q4_k and q5_k like blocks: codes 0..last, integer scales and minimums 0..highest.
AffineBlock fit_affine_block(const Samples& samples, int parts, int last, int highest);

}  // namespace runnel::quant
