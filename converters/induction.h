// Which KV heads look far back: scores from a text of random tokens that is said twice. A head that
// retrieves attends, from a token of the second copy, to the same token of the first copy or to the
// one after it; a head that does neither needs the newest tokens only. One owner, one thread.
// SOURCE: retrieval heads by echo and induction as in RazorAttention (arXiv:2407.15891).
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "converters/kv_moments.h"

namespace runnel::converters {

/// [first, tokens, tokens]: `n` different tokens of `text` in an order without sense, twice, behind
/// text's first token. Fewer when the text has no n different tokens.
std::vector<std::int32_t> repeated_tokens(std::span<const std::int32_t> text, std::size_t n);

class InductionScores {
 public:
  /// n_tokens: of one copy, as in repeated_tokens().
  InductionScores(const AttentionShape& shape, std::int64_t n_tokens)
      : shape_(shape), n_tokens_(n_tokens) {}

  /// Takes the rows of one step; steps come in order.
  void add(const KvMoments::Rows& rows);

  /// Of each attention layer, in order of blocks: the share of attention that each KV head's query
  /// heads give to the two places that retrieval looks at; of the query head that gives most.
  /// REQUIRES: all tokens were added.
  std::vector<std::vector<double>> scores() const;

 private:
  struct Layer {
    std::int64_t n_kv_heads = 0;
    std::vector<float> q, k;
  };
  double score(const Layer& layer, std::int64_t query_head) const;

  AttentionShape shape_;
  std::int64_t n_tokens_;
  std::map<std::int64_t, Layer> layers_;  // by number of the block
};

/// Bit h of a layer's mask: its KV head h scores below `least`. The best head of a layer never
/// does.
std::vector<std::uint64_t> streaming_heads(const std::vector<std::vector<double>>& scores,
                                           double least);

}  // namespace runnel::converters
