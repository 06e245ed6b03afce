// What `runnel calibrate` has written into a model file about its KV cache: keys, bounds, gates.
//
// | key                     | type | meaning                                                      |
// |-------------------------|------|--------------------------------------------------------------|
// | runnel.kv.version       | u32  | 1: signs are those of quant::hadamard_signs(); must be there |
// |                         |      | when any other key is                                        |
// | runnel.kv.v_folded      | bool | W_v makes transformed values, W_o takes them: nothing is     |
// |                         |      | transformed while the model runs                             |
// | runnel.kv.balanced      | bool | the gains of q and k were balanced, for information          |
// | runnel.kv.kl.<preset>   | f32  | mean KL divergence from an f32 cache, nats a token, >= 0     |
// | runnel.kv.streaming     | i32s | heads that need sinks and recent tokens only: number of the |
// |                         |      | attention layer * 64 + KV head; used where a session asks    |
// | runnel.kv.text_tokens   | u64  | tokens of the text it was measured on, for information       |
//
// Other programs run such a file unchanged: what the model computes stays the same.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quant/kv_presets.h"
#include "runtime/base/status.h"
#include "runtime/io/gguf.h"
#include "runtime/io/gguf_writer.h"

namespace runnel {

struct KvCalibration {
  static constexpr std::uint32_t kVersion = 1;

  bool present = false;  // the file has such keys
  bool v_folded = false;
  bool balanced = false;
  std::uint64_t text_tokens = 0;
  std::vector<std::uint64_t> streaming;  // by attention layer, bit h: KV head h; may be short
  std::array<std::optional<double>, quant::kKvPresets.size()> kl;  // by preset, in their order

  /// What `file` says; all defaults when it says nothing. `head_dim`: of the model.
  /// ERRORS: corrupt (naming the key), unsupported (another version).
  static Result<KvCalibration> read(const GgufFile& file, std::int64_t head_dim);
  /// Writes all keys, and those of `kl` that have a value.
  void write(GgufWriter& writer) const;
  /// Whether the recorded damage of a cache stays below its gate; nothing recorded is no damage.
  /// ERRORS: unsupported, naming preset, divergence, gate, and how to go on.
  Status check(const quant::KvPolicy& policy) const;
};

/// True for the keys above.
bool is_kv_calibration_key(std::string_view key);

}  // namespace runnel
