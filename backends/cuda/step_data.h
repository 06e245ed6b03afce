// What kernels read of a step: its parameters and where its states lie. One copy in device memory,
// refreshed before each run. Seen by the host compiler and by nvcc.
#pragma once
#include <cstdint>

namespace runnel::cuda {

/// The head of the step buffer; behind it one pointer per state to that state's pages.
struct StepData {
  std::int32_t pos, n_tokens, kv_keep, kv_sealed, kv_gap;
  std::int32_t reserved;
  std::int32_t* failure;  // host memory: a kernel that cannot go on writes a Failure there
};
static_assert(sizeof(StepData) == 32);

enum class Failure : std::int32_t { none, token_id, expert_id };

/// Rows of a per-token value that a step uses: `fixed`, or `per_token` times its tokens.
struct Rows {
  std::int32_t fixed = 0, per_token = 0;
};

}  // namespace runnel::cuda
