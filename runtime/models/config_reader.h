// Reading a ModelConfig: metadata keys under the architecture's prefix, checked, and tensor shapes.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/models/arch.h"

namespace runnel {

/// Sticky reader of the keys "<architecture>.<key>": read freely, check status() once.
class ConfigReader {
 public:
  ConfigReader(const GgufFile& file, std::string_view architecture);
  const Status& status() const { return status_; }
  const GgufFile& file() const { return file_; }
  std::string_view prefix() const { return prefix_; }

  /// Integer in [low, high]; `fallback` when absent (no fallback < low: then an absent key is an
  /// error).
  std::int64_t integer(std::string_view key,
                       std::int64_t low,
                       std::int64_t high,
                       std::int64_t fallback);
  /// Finite float > 0.
  float positive(std::string_view key, float fallback);
  bool boolean(std::string_view key, bool fallback);
  bool has_tensor(const std::string& name) const { return file_.tensor(name) != nullptr; }
  /// Shape of a tensor that must exist with this rank; an empty shape on error.
  Shape shape(const std::string& name, int rank);
  void fail(Code code, std::string message);

 private:
  const GgufFile& file_;
  std::string prefix_;
  Status status_;
};

/// Fills what all decoder-only architectures share: sizes, layers (kind by the tensors present),
/// KV heads (from attn_k's rows, whatever head_count_kv says), RoPE.
ModelConfig read_decoder_config(ConfigReader& reader, float default_eps, float default_theta);

/// "blk.3.attn_q.weight"
std::string block_tensor(std::size_t layer, std::string_view part);

}  // namespace runnel
