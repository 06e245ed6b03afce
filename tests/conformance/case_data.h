// The bytes of all operands of a case, made once and given to every backend.
#pragma once
#include <cstddef>
#include <vector>

#include "tests/conformance/case.h"

namespace runnel::conformance {

using Bytes = std::vector<std::byte>;

/// Bytes of a value at its full shape.
inline std::size_t bytes_of(const Shape& shape,
                            DType dtype,
                            quant::KvFormat kv = quant::KvFormat::plain) {
  if (kv != quant::KvFormat::plain)
    return static_cast<std::size_t>(shape[0] * (shape[2] / quant::kKvChannels)) *
           quant::kv_block_bytes(kv);
  return static_cast<std::size_t>(shape.rows()) *
         quant::row_bytes(dtype, static_cast<std::size_t>(shape.cols()));
}

/// parts[i]: input i of the node; one element, or one per page for K and V states.
struct CaseData {
  std::vector<std::vector<Bytes>> parts;
};

/// Depends on nothing but the case. Rows that the step does not use and slots without a token hold
/// values that show when a kernel reads them.
CaseData make_data(const Case& one);

}  // namespace runnel::conformance
