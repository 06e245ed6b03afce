#include "runtime/session/suggested.h"

#include <algorithm>
#include <array>

namespace runnel {

Result<SamplingParams> read_suggested_sampling(const GgufFile& file) {
  struct Row {
    std::string_view key;
    float SamplingParams::*field;
  };
  static constexpr std::array kRows{
      Row{"runnel.sampling.temperature", &SamplingParams::temperature},
      Row{"runnel.sampling.top_p", &SamplingParams::top_p},
      Row{"runnel.sampling.min_p", &SamplingParams::min_p},
      Row{"runnel.sampling.repeat_penalty", &SamplingParams::repeat_penalty},
  };
  SamplingParams params;
  for (const Row& row : kRows) {
    RUNNEL_ASSIGN(const std::optional<double> value, file.get_float(row.key));
    if (value) params.*row.field = static_cast<float>(*value);
  }
  RUNNEL_ASSIGN(const std::optional<std::int64_t> top_k, file.get_int("runnel.sampling.top_k"));
  if (top_k) params.top_k = static_cast<std::int32_t>(std::clamp<std::int64_t>(*top_k, 0, 1 << 20));
  Status valid = validate(params);
  if (!valid.ok()) return Status(Code::corrupt, "suggested sampling: " + valid.message());
  return params;
}

}  // namespace runnel
