// Rewrites a GGUF model for its quantised KV cache: what can be done to keys and values once, in
// the weights, is done there, and what was measured is written beside it. What the model computes
// stays the same, for other programs too.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "converters/convert.h"
#include "converters/kv_moments.h"
#include "converters/row_writer.h"
#include "runtime/base/status.h"
#include "runtime/io/kv_calibration.h"

namespace runnel::converters {

/// Gains of one attention layer: keys are multiplied with them, queries divided by them.
struct LayerGains {
  std::int64_t layer = 0;  // number of the block
  std::int64_t n_kv_heads = 0;
  std::vector<double> gains;  // [head_dim], or [n_kv_heads, head_dim]
};

struct KvFoldOptions {
  std::string in_path;   // for a split model: any of its files
  std::string out_path;  // one file; appears only when complete; may be in_path
  AttentionShape shape;
  std::vector<LayerGains> gains;  // empty: keys and queries stay as they are
  bool fold_values = false;       // the transform of values into attn_v and attn_output
  KvCalibration record;           // written; v_folded and balanced are set from what was done
  int n_threads = 0;              // 0: all performance cores
  Progress progress;              // may be empty
};

/// Writes the model with gains folded into the norms of q and k, or where there are none into the
/// rows of attn_q and attn_k (these take gains per head), and with the transform of values. Weights
/// that are quantised cannot be folded: that part is left out, with a note. After an error nothing
/// is left at out_path. ERRORS: as quantize(); unsupported (gains per head where a norm is shared).
Result<ConvertSummary> fold_kv(const KvFoldOptions& options);

}  // namespace runnel::converters
