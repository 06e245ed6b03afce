#include "converters/rope.h"

#include <cmath>
#include <numbers>

#include "runtime/base/quote.h"

namespace runnel::converters {
namespace {

// The part both spellings share: kind and factors. `theta` is already set.
Status read_scaling(const Fields& scaling, RopeConfig* rope) {
  const std::string_view key = scaling.find("rope_type") != nullptr ? "rope_type" : "type";
  RUNNEL_ASSIGN(const std::optional<std::string> type, scaling.get_string(key));
  if (!type || *type == "default") return {};
  if (*type != "linear" && *type != "llama3")
    return Status(Code::unsupported, scaling.what() + ": rope scaling " + runnel::quote(*type));
  RUNNEL_ASSIGN(rope->factor, scaling.positive_or("factor", 1));
  rope->kind = RopeKind::linear;
  if (*type == "linear") return {};
  rope->kind = RopeKind::llama3;
  RUNNEL_ASSIGN(rope->low_freq_factor, scaling.positive_or("low_freq_factor", 1));
  RUNNEL_ASSIGN(rope->high_freq_factor, scaling.positive_or("high_freq_factor", 4));
  RUNNEL_ASSIGN(rope->original_context,
                scaling.positive_or("original_max_position_embeddings", 8192));
  if (rope->high_freq_factor <= rope->low_freq_factor)
    return scaling.bad("high_freq_factor", "is not above low_freq_factor");
  return {};
}

}  // namespace

Result<RopeConfig> read_rope(const Fields& config, double default_theta) {
  RopeConfig rope;
  RUNNEL_ASSIGN(rope.theta, config.positive_or("theta", default_theta));
  RUNNEL_ASSIGN(rope.theta, config.positive_or("rope_theta", rope.theta));
  RUNNEL_ASSIGN(double rotated, config.positive_or("partial_rotary_factor", 1));
  RUNNEL_ASSIGN(const std::optional<Fields> parameters, config.get_object("rope_parameters"));
  RUNNEL_ASSIGN(const std::optional<Fields> scaling, config.get_object("rope_scaling"));
  if (parameters) {
    for (const std::string_view kind : {"full_attention", "sliding_attention"})
      if (parameters->find(kind) != nullptr)
        return Status(Code::unsupported, parameters->what() + ": one set per kind of layer");
    RUNNEL_ASSIGN(rope.theta, parameters->positive_or("rope_theta", rope.theta));
    RUNNEL_ASSIGN(rotated, parameters->positive_or("partial_rotary_factor", rotated));
    RUNNEL_TRY(read_scaling(*parameters, &rope));
  } else if (scaling) {
    RUNNEL_TRY(read_scaling(*scaling, &rope));
  }
  if (rotated != 1)
    return Status(Code::unsupported, config.what() + ": 'partial_rotary_factor' other than 1");
  return rope;
}

std::vector<float> llama3_divisors(const RopeConfig& rope, std::int64_t head_dim) {
  std::vector<float> divisors;
  const double low_wavelength = rope.original_context / rope.low_freq_factor;
  const double high_wavelength = rope.original_context / rope.high_freq_factor;
  for (std::int64_t i = 0; i < head_dim / 2; ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(head_dim);
    const double wavelength = 2 * std::numbers::pi * std::pow(rope.theta, exponent);
    double divisor = 1;
    if (wavelength > low_wavelength) {
      divisor = rope.factor;
    } else if (wavelength >= high_wavelength) {
      const double smooth = (rope.original_context / wavelength - rope.low_freq_factor) /
                            (rope.high_freq_factor - rope.low_freq_factor);
      divisor = 1 / ((1 - smooth) / rope.factor + smooth);
    }
    divisors.push_back(static_cast<float>(divisor));
  }
  return divisors;
}

}  // namespace runnel::converters
