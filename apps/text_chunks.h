// A text as chunks of equally many tokens, for the verbs that send a whole text through a model.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "apps/app.h"

namespace runnel::app {

struct TextChunks {
  std::vector<std::int32_t> ids;  // of the text, without BOS
  std::size_t n_chunks = 0;       // to take, from the start
  std::size_t n_tokens = 0;       // of a chunk
  std::int32_t bos_token = -1;    // -1: none

  /// The ids of a chunk, the first one replaced by BOS.
  std::span<const std::int32_t> chunk(std::size_t index);
};

/// Cuts the text of `file` into chunks of n_tokens, at most max_chunks of them (0: all). Fails with
/// bad_input when there is not even one.
TextChunks text_chunks(const runnel_engine* engine,
                       const std::string& text,
                       const std::string& file,
                       std::size_t n_tokens,
                       int max_chunks);

}  // namespace runnel::app
