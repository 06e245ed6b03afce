// Cutting a text into chunks of tokens.
#include "apps/text_chunks.h"

#include <algorithm>

namespace runnel::app {

std::span<const std::int32_t> TextChunks::chunk(std::size_t index) {
  const std::span<std::int32_t> found(ids.data() + index * n_tokens, n_tokens);
  if (bos_token >= 0) found[0] = bos_token;
  return found;
}

TextChunks text_chunks(const runnel_engine* engine,
                       const std::string& text,
                       const std::string& file,
                       std::size_t n_tokens,
                       int max_chunks) {
  TextChunks chunks;
  chunks.ids = tokenize(engine, text, RUNNEL_TOKENS_PLAIN);
  chunks.n_tokens = n_tokens;
  chunks.n_chunks = chunks.ids.size() / n_tokens;
  chunks.bos_token = model_info(engine).bos_token;
  if (max_chunks > 0)
    chunks.n_chunks = std::min(chunks.n_chunks, static_cast<std::size_t>(max_chunks));
  if (chunks.n_chunks == 0)
    fail(Exit::bad_input, file + " has " + std::to_string(chunks.ids.size()) +
                              " tokens, less than one chunk of " + std::to_string(n_tokens));
  return chunks;
}

}  // namespace runnel::app
