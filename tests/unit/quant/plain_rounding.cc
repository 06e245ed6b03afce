#include "tests/unit/quant/plain_rounding.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include "quant/half.h"

namespace runnel::quant {
namespace {

float as_half(float value) {
  return f16_to_f32(f32_to_f16(value));
}

// The value with the largest magnitude.
float extreme(std::span<const float> x) {
  return *std::max_element(x.begin(), x.end(),
                           [](float a, float b) { return std::fabs(a) < std::fabs(b); });
}

void round_to_scale(std::span<float> x, float d, float inverse, int lowest, int highest) {
  for (float& value : x)
    value = d * std::clamp(std::floor(value * inverse + 0.5f), static_cast<float>(lowest),
                           static_cast<float>(highest));
}

// q4_0, q5_0, q8_0: the extreme value becomes the outermost level.
void round_symmetric(std::span<float> x, int outermost, int lowest, int highest) {
  const float d = extreme(x) / static_cast<float>(outermost);
  round_to_scale(x, as_half(d), d != 0 ? 1 / d : 0, lowest, highest);
}

void round_affine(std::span<float> x, int last) {
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  const float m = *low;
  const float d = (*high - m) / static_cast<float>(last);
  for (float& value : x) value = as_half(d) * std::floor((value - m) / d + 0.5f) + as_half(m);
}

// q2_k, q4_k, q5_k: range of each part, rounded to integer multiples of the largest.
void round_affine_block(std::span<float> x, std::size_t length, int last, int highest) {
  const auto range = [&](std::span<const float> part) {
    const auto [low, high] = std::minmax_element(part.begin(), part.end());
    const float minimum = std::min(*low, 0.0f);
    return std::pair((std::max(*high, 0.0f) - minimum) / static_cast<float>(last), -minimum);
  };
  float scale = 0;
  float minimum = 0;
  for (std::size_t i = 0; i < x.size(); i += length) {
    scale = std::max(scale, range(x.subspan(i, length)).first);
    minimum = std::max(minimum, range(x.subspan(i, length)).second);
  }
  const float d = as_half(scale / static_cast<float>(highest));
  const float dmin = as_half(minimum / static_cast<float>(highest));
  for (std::size_t i = 0; i < x.size(); i += length) {
    const auto [part_scale, part_minimum] = range(x.subspan(i, length));
    const float step = d != 0 ? d * std::round(part_scale / d) : 0;
    const float offset = dmin != 0 ? dmin * std::round(part_minimum / dmin) : 0;
    for (float& value : x.subspan(i, length))
      value = step * std::clamp(std::round(step != 0 ? (value + offset) / step : 0), 0.0f,
                                static_cast<float>(last)) -
              offset;
  }
}

constexpr int kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                             1,    13,   25,  38,  53,  69,  89,  113};

void round_to_levels(std::span<float> x, float d) {
  for (float& value : x) {
    float best = static_cast<float>(kLevels[0]) * d;
    for (const int level : kLevels)
      if (std::fabs(static_cast<float>(level) * d - value) < std::fabs(best - value))
        best = static_cast<float>(level) * d;
    value = best;
  }
}

// q3_k, q6_k, iq4_xs: extreme value of each part, its scale an integer multiple of the largest.
template <class RoundPart>
void round_scaled_block(
    std::span<float> x, std::size_t length, int outermost, int scale_outermost, RoundPart round) {
  const float largest = extreme(x) / static_cast<float>(outermost);
  const float d = as_half(largest / static_cast<float>(scale_outermost));
  for (std::size_t i = 0; i < x.size(); i += length) {
    const std::span<float> part = x.subspan(i, length);
    const float scale = extreme(part) / static_cast<float>(outermost);
    const float integer = std::clamp(std::round(scale / d), static_cast<float>(scale_outermost),
                                     static_cast<float>(-scale_outermost - 1));
    round(part, d * integer);
  }
}

void round_float4(std::span<float> x) {
  // The exponent of the largest value less that of 6, the largest E2M1 value.
  const float scale = std::ldexp(0.5f, std::ilogb(extreme(x)) - 2);
  for (float& value : x) {
    float best = 0;
    for (const int level : {1, 2, 3, 4, 6, 8, 12, -1, -2, -3, -4, -6, -8, -12})
      if (std::fabs(static_cast<float>(level) * scale - value) < std::fabs(best - value))
        best = static_cast<float>(level) * scale;
    value = best;
  }
}

void round_block(DType type, std::span<float> x) {
  const auto to_even_steps = [&](int lowest, int highest) {
    return [=](std::span<float> part, float scale) {
      round_to_scale(part, scale, scale != 0 ? 1 / scale : 0, lowest, highest);
    };
  };
  switch (type) {
    case DType::q4_0:
      return round_symmetric(x, -8, -8, 7);
    case DType::q5_0:
      return round_symmetric(x, -16, -16, 15);
    case DType::q8_0:
      return round_symmetric(x, 127, -127, 127);
    case DType::q4_1:
      return round_affine(x, 15);
    case DType::q5_1:
      return round_affine(x, 31);
    case DType::q2_k:
      return round_affine_block(x, 16, 3, 15);
    case DType::q4_k:
      return round_affine_block(x, 32, 15, 63);
    case DType::q5_k:
      return round_affine_block(x, 32, 31, 63);
    case DType::q3_k:
      return round_scaled_block(x, 16, -4, -32, to_even_steps(-4, 3));
    case DType::q6_k:
      return round_scaled_block(x, 16, -32, -128, to_even_steps(-32, 31));
    case DType::iq4_nl:
      return round_to_levels(x, as_half(extreme(x) / -127));
    case DType::iq4_xs:
      return round_scaled_block(x, 32, -127, -32, round_to_levels);
    case DType::mxfp4:
      return round_float4(x);
    default:  // ternary
      return round_symmetric(x, 1, -1, 1);
  }
}

}  // namespace

Row plain_rounding(DType type, const Row& row) {
  Row result = row;
  const std::size_t elems = info(type).block_elems;
  for (std::size_t i = 0; i < row.size(); i += elems)
    round_block(type, std::span(result).subspan(i, elems));
  return result;
}

}  // namespace runnel::quant
