// GGUF -> GGUF with other number formats. One call is used by one thread; calls are independent.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "converters/convert.h"
#include "runtime/base/status.h"

namespace runnel::converters {

struct QuantizeOptions {
  std::string in_path;       // for a split model: any of its files
  std::string out_path;      // one file; appears only when complete
  std::string recipe;        // a name of quant/mix.h; "f32" dequantises everything
  int n_threads = 0;         // 0: all performance cores
  std::string imatrix_path;  // importance matrix of this model (imatrix.h); empty: none
  /// As in ConvertOptions.
  std::function<bool(double fraction, std::string_view tensor)> progress;
};

/// Rewrites all tensors by the recipe; metadata is copied but for the keys that describe the number
/// formats and the split. With an importance matrix, errors in channels with large inputs count
/// more; weights it does not know are named in the notes. After an error nothing is left at
/// out_path. ERRORS: as convert() and Imatrix::read(); invalid_argument when the matrix is of
/// another model.
Result<ConvertSummary> quantize(const QuantizeOptions& options);

}  // namespace runnel::converters
