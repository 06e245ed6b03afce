// Special tokens of a checkpoint: which ids begin, end and pad a text. Pure functions.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "converters/hf_tokenizer.h"
#include "converters/json.h"
#include "runtime/base/status.h"
#include "runtime/io/gguf_writer.h"

namespace runnel::converters {

/// The files that name special tokens; null where a checkpoint has none.
struct SpecialSources {
  const Fields* config = nullptr;              // config.json: ids
  const Fields* generation = nullptr;          // generation_config.json: ids
  const Fields* tokenizer_config = nullptr;    // texts and add_bos_token
  const Fields* special_tokens_map = nullptr;  // texts
};

/// Sets tokenizer.ggml.{bos,eos,eot,padding}_token_id, add_bos_token, add_eos_token and, where
/// several tokens end a reply, runnel.tokenizer.eog_ids. Ids outside the vocabulary are left out
/// with a note. ERRORS: corrupt, naming file and key.
Status set_special_tokens(const SpecialSources& sources,
                          const HfTokenizer& tokenizer,
                          GgufWriter& meta,
                          std::vector<std::string>* notes);

}  // namespace runnel::converters
