// Spreads a recipe's bits over the tensors of a model: same bytes, less damage. A standard mix
// gives most matrices one format and a few of them more; which matrices those should be differs by
// a factor of twenty in what an error there does to the model's answers. Stateless, thread-safe.
#pragma once
#include <cstdint>
#include <span>

#include "quant/dtype.h"
#include "quant/mix.h"

namespace runnel::quant {

/// One tensor of a model.
struct MixedTensor {
  TensorRole role;
  std::int64_t n_rows = 0;
  DType type = DType::f32;  // in: what tensor_type() says; out: what it gets
};

/// Spends the bytes of the standard mix where they lower the expected KL divergence most: a few
/// matrices get better types than there, others the recipe's base type or, rarely, the one below.
/// The model never becomes larger than the standard mix. Tensors whose part is not known, whose
/// rows are no multiple of 256, or that stay float keep their type; so does everything under a
/// recipe without better types to choose from (q8_0, mxfp4, ternary and floats).
void spread_bits(const Recipe& recipe, std::span<MixedTensor> tensors);

}  // namespace runnel::quant
