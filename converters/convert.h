// Hugging Face checkpoint -> GGUF. Example:
//   ConvertOptions options;
//   options.hf_dir = "LFM2-350M"; options.out_path = "lfm2-350m.gguf"; options.recipe = "q4_k_m";
//   RUNNEL_ASSIGN(const ConvertSummary summary, convert(options));
// One call is used by one thread; calls are independent of each other.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/log.h"
#include "runtime/base/status.h"

namespace runnel::converters {

struct ConvertOptions {
  std::string hf_dir;    // holds config.json and the weights
  std::string out_path;  // appears only when complete
  std::string recipe;    // a name of quant/mix.h; empty: the number format of the source
  int n_threads = 0;     // 0: all performance cores
  /// Told after each slab of rows; false stops with Code::cancelled. May be empty.
  std::function<bool(double fraction, std::string_view tensor)> progress;
  Log log;
};

struct ConvertSummary {
  std::string architecture;        // general.architecture
  std::string recipe;              // the one used
  std::int64_t n_tensors = 0;      // written
  std::int64_t n_parameters = 0;   // elements of all of them
  std::vector<std::string> notes;  // what was left out or guessed, one line each
};

/// Converts config, weights, tokenizer, chat template and sampling hints. Peak private memory is
/// some tens of MB plus the tokenizer, whatever the model's size. After an error nothing is left at
/// out_path. ERRORS: not_found, io, corrupt, unsupported, invalid_argument (recipe, out_path is an
/// input), cancelled; messages name the file and the tensor or key.
Result<ConvertSummary> convert(const ConvertOptions& options);

/// Whether weights can be written by the recipe with this name. ERRORS: invalid_argument (unknown,
/// listing the known ones), unsupported (a format that only decodes).
Status check_recipe(std::string_view name);

}  // namespace runnel::converters
