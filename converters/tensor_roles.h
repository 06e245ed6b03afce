// Which part of the model each tensor of a GGUF file plays, for the recipes in quant/mix.h.
// Immutable after construction, thread-safe.
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "quant/dtype.h"
#include "quant/mix.h"
#include "runtime/base/shape.h"
#include "runtime/base/status.h"

namespace runnel::converters {

class TensorRoles {
 public:
  /// `names`: all tensors of the file. The layers with an attn_v tensor are the attention layers.
  explicit TensorRoles(std::span<const std::string_view> names);
  /// `name` must outlive the returned role.
  quant::TensorRole role(std::string_view name, const Shape& shape, quant::DType source) const;

 private:
  int n_layers_ = 0;
  bool has_output_ = false;
  std::vector<int> attention_layers_;  // ascending
};

/// The recipe with this name whose formats can all be written. ERRORS: invalid_argument (unknown,
/// listing the known ones), unsupported (a format that only decodes).
Result<const quant::Recipe*> usable_recipe(std::string_view name);

}  // namespace runnel::converters
