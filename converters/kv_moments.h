// Second moments of what attention layers see, and the gains that follow from them. One owner, one
// thread.
//
// A quantised key k + e gives the score q.k + q.e. After the signed Hadamard transform the error e
// is spread over all channels alike, whatever the channel's own size, so its variance is that of
// |k|^2 and the score's noise is |q|^2 |k|^2. Scaling a channel of k by t and of q by 1/t leaves
// all scores; t = (E q^2 / E k^2)^(1/4) makes E|q|^2 E|k|^2 smallest. RoPE turns pairs of channels,
// so the two of a pair share their t.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace runnel::converters {

/// What all attention layers of a model share.
struct AttentionShape {
  std::int64_t n_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t rotary_dim = 0;
  bool interleaved = false;  // RoPE pairs (2i, 2i+1) instead of (i, i + rotary_dim/2)

  /// The channel that turns with `channel`; itself past rotary_dim.
  std::int64_t partner(std::int64_t channel) const;
};

/// Sums over tokens of one attention layer; of a query head in the sum of its KV head.
struct LayerMoments {
  std::int64_t n_kv_heads = 0;
  std::int64_t n_tokens = 0;
  std::vector<double> q2, k2, k1, v2, v1;  // [n_kv_heads, head_dim]: of q^2, k^2, k, v^2, v

  /// Size of the scores' noise with `gains`, as a share of that without: 1 = no gain at all.
  /// gains: [head_dim] or [n_kv_heads, head_dim].
  double noise(const AttentionShape& shape, const std::vector<double>& gains) const;
  /// Share of the energy of keys or values that their mean has.
  double key_mean_share() const;
  double value_mean_share() const;
};

class KvMoments {
 public:
  explicit KvMoments(const AttentionShape& shape) : shape_(shape) {}

  /// Adds the rows of one step. q: [n_rows, n_heads * head_dim], after RoPE; k, v: [n_rows,
  /// n_kv_heads * head_dim]. REQUIRES: n_heads a multiple of n_kv_heads, the same in every call.
  struct Rows {
    std::int64_t layer = 0, n_rows = 0, n_kv_heads = 0;
    const float *q = nullptr, *k = nullptr, *v = nullptr;
  };
  void add(const Rows& rows);

  const AttentionShape& shape() const { return shape_; }
  const std::map<std::int64_t, LayerMoments>& layers() const { return layers_; }

 private:
  AttentionShape shape_;
  std::map<std::int64_t, LayerMoments> layers_;  // by number of the block
};

/// What to multiply keys with, and to divide queries by. per_layer: [head_dim], the same for all
/// heads; per_head: [n_kv_heads, head_dim].
enum class GainScope : std::uint8_t { per_layer, per_head };
std::vector<double> balanced_gains(const LayerMoments& moments,
                                   const AttentionShape& shape,
                                   GainScope scope);

}  // namespace runnel::converters
