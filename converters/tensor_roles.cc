#include "converters/tensor_roles.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "runtime/base/quote.h"

namespace runnel::converters {
namespace {

constexpr int kMaxLayer = 65535;

// N of "blk.N.rest", or -1.
int layer_of(std::string_view name) {
  if (!name.starts_with("blk.")) return -1;
  name.remove_prefix(4);
  int layer = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  const bool whole = error == std::errc() && end != name.data() + name.size() && *end == '.';
  return whole && layer >= 0 && layer <= kMaxLayer ? layer : -1;
}

}  // namespace

TensorRoles::TensorRoles(std::span<const std::string_view> names) {
  for (const std::string_view name : names) {
    const int layer = layer_of(name);
    n_layers_ = std::max(n_layers_, layer + 1);
    has_output_ |= name == "output.weight";
    if (layer >= 0 && name.ends_with(".attn_v.weight")) attention_layers_.push_back(layer);
  }
  std::ranges::sort(attention_layers_);
}

quant::TensorRole TensorRoles::role(std::string_view name,
                                    const Shape& shape,
                                    quant::DType source) const {
  quant::TensorRole role;
  role.name = name;
  role.rank = shape.rank;
  role.row_elems = shape.cols();
  role.layer = layer_of(name);
  role.n_layers = n_layers_;
  const auto at = std::ranges::lower_bound(attention_layers_, role.layer);
  if (at != attention_layers_.end() && *at == role.layer)
    role.attention_ordinal = static_cast<int>(at - attention_layers_.begin());
  role.n_attention_layers = static_cast<int>(attention_layers_.size());
  role.embedding_is_output = !has_output_;
  role.source = source;
  return role;
}

Result<const quant::Recipe*> usable_recipe(std::string_view name) {
  const std::optional<quant::DType> dtype = quant::find_dtype(name);
  if (dtype && !quant::info(*dtype).encodes)
    return Status(Code::unsupported,
                  "type " + runnel::quote(name) + " can be read but not written");
  const quant::Recipe* recipe = quant::find_recipe(name);
  if (recipe == nullptr) {
    std::string known;
    for (const quant::Recipe& row : quant::recipes()) known.append(" ").append(row.name);
    return Status(Code::invalid_argument,
                  "unknown type " + runnel::quote(name) + "; known:" + known);
  }
  for (const quant::DType part :
       {recipe->base, recipe->output, recipe->more_attention_v, recipe->more_ffn_down})
    if (!quant::info(part).encodes)
      return Status(Code::unsupported,
                    "type " + runnel::quote(name) + " can be read but not written");
  return recipe;
}

}  // namespace runnel::converters
