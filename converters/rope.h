// Rotary-embedding settings of Hugging Face configs, old and new spelling. Pure functions.
#pragma once
#include <cstdint>
#include <vector>

#include "converters/json.h"
#include "runtime/base/status.h"

namespace runnel::converters {

enum class RopeKind : std::uint8_t { plain, linear, llama3 };

struct RopeConfig {
  RopeKind kind = RopeKind::plain;
  double theta = 0;
  double factor = 1;           // linear, llama3
  double low_freq_factor = 1;  // llama3
  double high_freq_factor = 4;
  double original_context = 0;  // tokens
};

/// Reads rope_parameters.*, else rope_theta (or theta) and rope_scaling.*. ERRORS: corrupt (naming
/// the key), unsupported (any other kind of scaling, rotation of a part of the head only).
Result<RopeConfig> read_rope(const Fields& config, double default_theta);

/// Divisors of the rotation frequencies: [head_dim / 2] f32. REQUIRES: kind llama3.
/// SOURCE: Llama 3.1 reference code, apply_scaling().
std::vector<float> llama3_divisors(const RopeConfig& rope, std::int64_t head_dim);

}  // namespace runnel::converters
