#include "converters/plan.h"

#include <algorithm>
#include <array>

#include "runtime/base/quote.h"

namespace runnel::converters {
namespace {

constexpr std::string_view kEmbedding = "embed_tokens.weight";

constexpr std::int64_t kMaxDimension = 0x7FFFFFFF;  // counts are u32 and i32 keys

// Where checkpoints keep the text model; the longest first.
constexpr auto kPrefixes = std::to_array<std::string_view>(
    {"model.language_model.", "language_model.model.", "language_model.", "lfm.", "model.", ""});

// Behind these prefixes the checkpoint is the text model and nothing else.
bool is_plain_prefix(std::string_view prefix) {
  return prefix == "model." || prefix.empty();
}

std::string shape_text(std::span<const std::int64_t> dims) {
  std::string text = "[";
  for (const std::int64_t n : dims) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
  return text + "]";
}

bool same_but_for_ones(std::span<const std::int64_t> a, std::span<const std::int64_t> b) {
  std::vector<std::int64_t> left, right;
  std::ranges::copy_if(a, std::back_inserter(left), [](std::int64_t n) { return n != 1; });
  std::ranges::copy_if(b, std::back_inserter(right), [](std::int64_t n) { return n != 1; });
  return left == right;
}

}  // namespace

const std::byte* source_row(const Checkpoint& checkpoint,
                            const PlannedTensor& tensor,
                            std::int64_t row) {
  if (tensor.order == RowOrder::interleave_rope) {
    const std::int64_t head = row / tensor.head_rows;
    const std::int64_t in_head = row % tensor.head_rows;
    row = head * tensor.head_rows + in_head % 2 * (tensor.head_rows / 2) + in_head / 2;
  }
  // All pieces are equally long, so the piece is found by division.
  const std::int64_t piece_rows = tensor.pieces.front().n_rows;
  const Piece& piece = tensor.pieces[static_cast<std::size_t>(row / piece_rows)];
  const std::size_t row_bytes =
      quant::row_bytes(*piece.tensor->dtype, static_cast<std::size_t>(tensor.shape.cols()));
  const auto index = static_cast<std::size_t>(piece.first_row + row % piece_rows);
  return checkpoint.data(*piece.tensor).data() + index * row_bytes;
}

Result<TensorPlanner> TensorPlanner::start(const Checkpoint& checkpoint) {
  for (const std::string_view prefix : kPrefixes)
    if (checkpoint.find(std::string(prefix) + std::string(kEmbedding)) != nullptr)
      return TensorPlanner(checkpoint, std::string(prefix));
  return Status(Code::corrupt, "tensor 'model.embed_tokens.weight' is missing");
}

const SourceTensor* TensorPlanner::find(std::string_view name) {
  const SourceTensor* tensor = checkpoint_->find(prefix_ + std::string(name));
  if (tensor != nullptr) used_.insert(tensor);
  return tensor;
}

bool TensorPlanner::has(std::string_view name) const {
  return checkpoint_->find(prefix_ + std::string(name)) != nullptr;
}

const SourceTensor* TensorPlanner::need(std::string_view name, std::size_t rank) {
  const SourceTensor* tensor = find(name);
  const std::string label = "tensor " + runnel::quote(prefix_ + std::string(name));
  if (tensor == nullptr) {
    fail(Status(Code::corrupt, label + " is missing"));
    return nullptr;
  }
  if (!tensor->dtype) {
    fail(Status(Code::unsupported, label + " has dtype " + runnel::quote(tensor->dtype_name) +
                                       ", not BF16, F16 or F32"));
    return nullptr;
  }
  const bool in_range = std::ranges::all_of(
      tensor->shape, [](std::int64_t n) { return n > 0 && n <= kMaxDimension; });
  if (tensor->shape.size() == rank && in_range) return tensor;
  fail(Status(Code::corrupt, label + " has shape " + shape_text(tensor->shape)));
  return nullptr;
}

void TensorPlanner::add(std::string_view gguf_name,
                        std::string_view name,
                        std::initializer_list<std::int64_t> dims,
                        RowOrder order,
                        std::int64_t head_rows) {
  const SourceTensor* found = find(name);
  const SourceTensor* tensor = need(name, found == nullptr ? 0 : found->shape.size());
  if (tensor == nullptr) return;
  const std::span<const std::int64_t> expected(dims.begin(), dims.size());
  if (!same_but_for_ones(tensor->shape, expected))
    return fail(Status(Code::corrupt, "tensor " + runnel::quote(tensor->name) + " has shape " +
                                          shape_text(tensor->shape) + " where " +
                                          shape_text(expected) + " is expected"));
  const Shape shape(dims);
  PlannedTensor planned{std::string(gguf_name), shape, {{tensor, 0, shape.rows()}}};
  planned.order = order;
  planned.head_rows = head_rows;
  tensors_.push_back(std::move(planned));
}

const SourceTensor* TensorPlanner::find_head() const {
  for (const std::string_view name :
       {"lm_head.weight", "language_model.lm_head.weight", "model.lm_head.weight"})
    if (const SourceTensor* head = checkpoint_->find(name)) return head;
  return nullptr;
}

void TensorPlanner::add_head(Head head, std::int64_t n_vocab, std::int64_t width) {
  const SourceTensor* tensor = find_head();
  if (tensor != nullptr) used_.insert(tensor);
  if (head == Head::tied || (head == Head::as_stored && tensor == nullptr)) return;
  if (tensor == nullptr)
    return fail(
        Status(Code::corrupt,
               "tensor 'lm_head.weight' is missing (the config says the head is not tied)"));
  const std::array<std::int64_t, 2> expected{n_vocab, width};
  if (!tensor->dtype || !std::ranges::equal(tensor->shape, expected))
    return fail(Status(Code::corrupt, "tensor " + runnel::quote(tensor->name) + " is " +
                                          runnel::quote(tensor->dtype_name) + " " +
                                          shape_text(tensor->shape) + " where float " +
                                          shape_text(expected) + " is expected"));
  tensors_.push_back({"output.weight", {n_vocab, width}, {{tensor, 0, n_vocab}}});
}

void TensorPlanner::fail(Status status) {
  if (status_.ok()) status_ = std::move(status);
}

Status TensorPlanner::finish() {
  RUNNEL_TRY(status_);
  std::size_t n_skipped = 0;
  std::string first;
  for (const SourceTensor& tensor : checkpoint_->tensors()) {
    if (used_.contains(&tensor)) continue;
    const bool table = tensor.name.ends_with("rotary_emb.inv_freq");  // computed anyway
    const bool other_part = !is_plain_prefix(prefix_) && !tensor.name.starts_with(prefix_);
    if (!table && !other_part)
      return Status(Code::unsupported,
                    "tensor " + runnel::quote(tensor.name) + " has no place in this architecture");
    if (other_part && n_skipped++ == 0) first = runnel::quote(tensor.name);
  }
  if (n_skipped > 0)
    notes_.push_back("text model only: skipped " + std::to_string(n_skipped) +
                     " tensors of other parts (" + first + ", ...)");
  return {};
}

}  // namespace runnel::converters
