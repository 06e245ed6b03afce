// Everything about text in a checkpoint directory: tokenizer, special tokens, chat template and
// suggested sampling. Used by one thread.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "converters/json.h"
#include "runtime/base/status.h"
#include "runtime/io/gguf_writer.h"

namespace runnel::converters {

/// Sets tokenizer.*, runnel.tokenizer.* and runnel.sampling.* from the files in `dir` that are
/// there; returns notes for the user. `config`: the text model's config.json.
/// ERRORS: io, corrupt, unsupported (SentencePiece only), naming the file.
Result<std::vector<std::string>> set_text_keys(const std::string& dir,
                                               const Fields& config,
                                               std::int64_t n_vocab,
                                               std::string_view llama3_pre,
                                               GgufWriter& meta);

}  // namespace runnel::converters
