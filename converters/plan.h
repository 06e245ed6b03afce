// What a converter decided: the tensors of the GGUF file and where their rows come from. Plain data
// that borrows from the Checkpoint; the planner is used by one thread.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "converters/safetensors.h"
#include "runtime/base/shape.h"
#include "runtime/base/status.h"

namespace runnel::converters {

/// A run of rows (all dimensions but the last) of a source tensor.
struct Piece {
  const SourceTensor* tensor = nullptr;
  std::int64_t first_row = 0;
  std::int64_t n_rows = 0;
};

/// same: rows as in the source. interleave_rope: within each head of `head_rows` rows, row 2i+j
/// comes from row j*head_rows/2 + i, which turns half-rotation RoPE weights into the interleaved
/// order that GGUF's llama architecture stores.
enum class RowOrder : std::uint8_t { same, interleave_rope };

struct PlannedTensor {
  std::string name;                // GGUF name
  Shape shape;                     // outermost first
  std::vector<Piece> pieces = {};  // rows in order; all of the same dtype
  RowOrder order = RowOrder::same;
  std::int64_t head_rows = 0;      // interleave_rope only
  std::vector<float> values = {};  // computed f32 content instead of pieces
};

/// The bytes of row `row` of `tensor`. REQUIRES: pieces not empty, row < shape.rows().
const std::byte* source_row(const Checkpoint& checkpoint,
                            const PlannedTensor& tensor,
                            std::int64_t row);

/// Collects planned tensors and checks each source tensor's presence, dtype and shape. The first
/// error sticks: add freely, look at status() once. Names are given without the checkpoint's prefix
/// ("layers.0.ffn_norm.weight").
class TensorPlanner {
 public:
  /// Finds the prefix ("model.", "model.language_model.", "lfm.", ...). ERRORS: corrupt (no
  /// embed_tokens.weight anywhere).
  static Result<TensorPlanner> start(const Checkpoint& checkpoint);

  /// The tensor, or null when absent. Counts as used from now on.
  const SourceTensor* find(std::string_view name);
  /// The tensor, or null and a sticky error when it is absent or not of the given rank.
  const SourceTensor* need(std::string_view name, std::size_t rank);
  bool has(std::string_view name) const;

  /// Plans one tensor with the source's shape, which must be `dims`; ones that one side has and the
  /// other lacks do not matter ([D, 1, L] is [D, L]).
  void add(std::string_view gguf_name,
           std::string_view name,
           std::initializer_list<std::int64_t> dims,
           RowOrder order = RowOrder::same,
           std::int64_t head_rows = 0);
  void add(PlannedTensor tensor) { tensors_.push_back(std::move(tensor)); }
  /// Plans the head: none when tied, else lm_head.weight [n_vocab, width] -> output.weight.
  enum class Head : std::uint8_t { tied, untied, as_stored };
  void add_head(Head head, std::int64_t n_vocab, std::int64_t width);

  void fail(Status status);
  const Status& status() const { return status_; }
  /// Ends planning: every source tensor must have been used, but for parts known to be no part of
  /// the text model (vision, rotary tables, a tied head), which become one note. ERRORS: the sticky
  /// one, unsupported (naming an unused tensor).
  Status finish();
  std::vector<PlannedTensor> take_tensors() { return std::move(tensors_); }
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  TensorPlanner(const Checkpoint& checkpoint, std::string prefix)
      : checkpoint_(&checkpoint), prefix_(std::move(prefix)) {}
  const SourceTensor* find_head() const;

  const Checkpoint* checkpoint_;
  std::string prefix_;
  std::vector<PlannedTensor> tensors_;
  std::unordered_set<const SourceTensor*> used_;
  std::vector<std::string> notes_;
  Status status_;
};

}  // namespace runnel::converters
