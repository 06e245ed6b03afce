// The blocks decoders are made of, as graph nodes. Used once per graph, by build_graph().
#pragma once
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/models/arch.h"

namespace runnel {

/// Slots of the ring of f16 rows that a tiled cache keeps beside its tiles: the newest that a token
/// sees, a tile being filled, what the convolutions replay after a rollback, and a short rollback.
std::int64_t kv_ring_tokens(const ModelConfig& config, const quant::KvPolicy& kv);

/// Appends blocks to a Graph. Sticky: after the first error every call is a no-op that returns
/// kNoValue, and status() tells what went wrong.
class BlockBuilder {
 public:
  BlockBuilder(const Model& model, const BuildOptions& options)
      : model_(model), config_(model.config), options_(options), graph_(options.max_tokens) {}

  const Status& status() const { return status_; }
  Graph take_graph() { return std::move(graph_); }

  ValueId embed();
  /// x: [T, n*size] -> the same shape, each group of `size` values normalised.
  ValueId norm(ValueId x, const std::string& weight, std::int64_t size);
  ValueId add(ValueId a, ValueId b, const std::string& name);
  /// Normed u: [T,D] -> [T,D], projections included.
  ValueId attention(std::size_t layer, ValueId u);
  ValueId short_conv(std::size_t layer, ValueId u);
  ValueId gated_mlp(std::size_t layer, ValueId u);
  ValueId experts(std::size_t layer, ValueId u);
  /// Final norm and head; marks "logits", and of the last token "top", as outputs.
  void head(ValueId h);

 private:
  /// The weight `name` with exactly this shape; -1 in `expected` accepts any size.
  ValueId weight(const std::string& name, const Shape& expected);
  ValueId optional_weight(const std::string& name, const Shape& expected);
  ValueId node(Op op, std::vector<ValueId> in, Attr attr, std::string name);
  ValueId project(
      std::size_t layer, ValueId x, std::string_view part, std::int64_t n_out, std::int64_t n_in);
  std::vector<ValueId> rope_inputs(ValueId x);
  struct Qkv {
    ValueId q, k, v;
  };
  ValueId row_attention(std::size_t layer, const Qkv& x, const AttentionAttr& attr);
  ValueId tile_attention(std::size_t layer, const Qkv& x, AttentionAttr attr);
  ValueId transform(std::size_t layer, ValueId x, std::string_view part, RotateAttr attr);
  ValueId rotate(std::size_t layer, ValueId x, std::string_view norm_part, const std::string& name);
  void fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

  const Model& model_;
  const ModelConfig& config_;
  const BuildOptions& options_;
  Graph graph_;
  Status status_;
  std::unordered_map<std::string, ValueId> weights_;
  std::int64_t n_kv_layers_ = 0;  // attention layers so far
};

}  // namespace runnel
