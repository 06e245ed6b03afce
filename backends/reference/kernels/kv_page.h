// Where a token's keys and values lie: page position / 64, and inside a page [G][64][dh].
#pragma once
#include "backends/reference/kernel.h"

namespace runnel::reference {

/// Address of head `kv_head` of the token at `position`.
inline std::byte* kv_row(const StateBinding& binding,
                         const Operand& state,
                         std::int64_t position,
                         std::int64_t kv_head) {
  const std::int64_t row = kv_head * kPageTokens + position % kPageTokens;
  const std::size_t bytes = quant::row_bytes(state.dtype, static_cast<std::size_t>(state.cols()));
  return binding.host_pages[static_cast<std::size_t>(position / kPageTokens)] +
         static_cast<std::size_t>(row) * bytes;
}

/// Ok when the pages that hold positions [first, end) are there.
inline Status check_pages(const StateBinding& binding, std::int64_t first, std::int64_t end) {
  for (std::int64_t page = first / kPageTokens; page * kPageTokens < end; ++page) {
    const auto index = static_cast<std::size_t>(page);
    if (index >= binding.host_pages.size() || binding.host_pages[index] == nullptr)
      return {Code::invalid_argument, "KV page " + std::to_string(page) + " is missing"};
  }
  return {};
}

}  // namespace runnel::reference
