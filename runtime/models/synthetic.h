// Models of a published shape with random weights, so that anyone can measure without a download.
#pragma once
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace runnel {

/// One published shape. SOURCE: config.json of the released models.
struct SyntheticShape {
  std::string_view name;
  std::int64_t d_model, d_ff, n_layers, n_heads, n_kv_heads;
  std::span<const int> attention_layers;
};

/// All shapes `runnel bench --shape` knows.
std::span<const SyntheticShape> synthetic_shapes();

/// A GGUF image (arch lfm2, no tokenizer) whose tensors hold random values in the recipe's formats,
/// the same for every run. ERRORS: invalid_argument (unknown name or recipe), out_of_memory.
Result<std::vector<std::byte>> make_synthetic_model(std::string_view shape,
                                                    std::string_view recipe);

}  // namespace runnel
