#include "runtime/graph/infer.h"

#include <cmath>
#include <string>

#include "quant/kv_sparse.h"
#include "runtime/base/checked.h"

namespace runnel::infer {
namespace {

// A value's f32 bytes stay far below what a signed 64-bit offset can hold.
constexpr std::uint64_t kMaxElems = std::uint64_t{1} << 48;

std::string operands(const Graph& graph, const Node& node) {
  std::string text;
  for (ValueId id : node.in) {
    const Value& value = graph.value(id);
    text += (text.empty() ? "" : ", ") + value.name + " " + value.shape.to_string() + " " +
            std::string(quant::info(value.dtype).name);
  }
  return text;
}

Status fail(const Graph& graph, const Node& node, const std::string& reason) {
  return {Code::invalid_argument, node.name + ": " + std::string(schema(node.op).name) + "(" +
                                      operands(graph, node) + "): " + reason};
}

/// The inputs of one node, with the checks that ops share. The first failed check is kept.
class Checker {
 public:
  Checker(Graph& graph, Node& node) : graph_(graph), node_(node) {
    for (ValueId id : node.in) {
      const Shape& shape = graph.value(id).shape;
      std::uint64_t elems = 1;
      bool fits = true;
      for (int i = 0; i < shape.rank; ++i)
        fits = fits && shape[i] > 0 &&
               checked_mul(elems, static_cast<std::uint64_t>(shape[i]), &elems);
      require(fits && elems <= kMaxElems, "a dimension is zero, negative or too large");
    }
  }

  const Value& in(std::size_t i) const { return graph_.value(node_.in[i]); }
  std::int64_t dim(std::size_t i, int axis) const { return in(i).shape[axis]; }
  bool has(std::size_t i) const { return i < node_.in.size(); }
  bool ok() const { return status_.ok(); }
  Status status() const { return status_; }

  void require(bool condition, const std::string& reason) {
    if (!condition && status_.ok()) status_ = fail(graph_, node_, reason);
  }
  /// Activation matrix [rows, cols] f32.
  void activation(std::size_t i) {
    require(in(i).shape.rank == 2, input(i) + " is no matrix");
    require(in(i).dtype == DType::f32, input(i) + " is not f32");
    require(in(i).role != Role::state, input(i) + " is a state");
  }
  /// Weight of any number format whose rows are whole blocks.
  void weight(std::size_t i, int rank) {
    require(in(i).shape.rank == rank,
            input(i) + " has not " + std::to_string(rank) + " dimension(s)");
    require(in(i).dtype != DType::i32, input(i) + " has no weight format");
    require(in(i).shape.cols() % quant::info(in(i).dtype).block_elems == 0,
            "rows of " + input(i) + " are not whole blocks");
    require(in(i).role != Role::state, input(i) + " is a state");
  }
  void vector_weight(std::size_t i, std::int64_t elems) {
    weight(i, 1);
    require(dim(i, 0) == elems, input(i) + " has not " + std::to_string(elems) + " values");
  }
  void ids(std::size_t i, int rank) {
    require(in(i).shape.rank == rank && in(i).dtype == DType::i32,
            input(i) + " is no i32 array of " + std::to_string(rank) + " dimension(s)");
    require(in(i).role != Role::state, input(i) + " is a state");
  }
  void state(std::size_t i, StateKind kind) {
    require(in(i).role == Role::state && in(i).state == kind, input(i) + " is not its state");
  }
  /// One row per token of the step: row t belongs to position pos + t.
  void row_per_token(std::size_t i) {
    require(in(i).per_token && dim(i, 0) == graph_.max_tokens(),
            input(i) + " has not one row per token");
  }
  void same_shape(std::size_t i, std::size_t j) {
    require(in(i).shape == in(j).shape, input(i) + " and " + input(j) + " differ in shape");
    same_tokens(i, j);
  }
  void same_tokens(std::size_t i, std::size_t j) {
    require(in(i).per_token == in(j).per_token || graph_.max_tokens() == 1,
            input(i) + " and " + input(j) + " differ in what their rows are");
  }
  template <class T>
  T attr() {
    const T* held = std::get_if<T>(&node_.attr);
    require(held != nullptr, "has the attributes of another op");
    return held ? *held : T{};
  }
  /// Output number i: sets a fresh value, compares one that already has a shape. Its rows are per
  /// token when those of input `rows_like` are.
  void out(std::size_t i, const Shape& shape, DType dtype, std::size_t rows_like) {
    std::uint64_t elems = 1;
    for (int axis = 0; axis < shape.rank; ++axis)
      require(
          checked_mul(elems, static_cast<std::uint64_t>(shape[axis]), &elems) && elems <= kMaxElems,
          "the result is too large");
    if (!ok()) return;
    set_out(i, shape, dtype, in(rows_like).per_token);
  }
  void set_out(std::size_t i, const Shape& shape, DType dtype, bool per_token) {
    Value& value = graph_.value(node_.out[i]);
    const bool fresh = value.shape.rank == 0;
    require(fresh || (value.shape == shape && value.dtype == dtype),
            "output " + std::to_string(i) + " is " + value.shape.to_string() + ", must be " +
                shape.to_string());
    require(value.role == Role::temp || value.role == Role::output,
            "output " + std::to_string(i) + " cannot be written");
    if (!ok()) return;
    value.shape = shape;
    value.dtype = dtype;
    value.per_token = per_token;
  }

 private:
  static std::string input(std::size_t i) { return "input " + std::to_string(i); }
  Graph& graph_;
  Node& node_;
  Status status_;
};

void check_rope(Checker& c, const RopeAttr& a, std::size_t factors) {
  c.activation(0);
  c.row_per_token(0);
  c.require(a.head_dim > 0 && c.in(0).shape.cols() % a.head_dim == 0,
            "columns are not whole heads of " + std::to_string(a.head_dim));
  c.require(a.rotary_dim > 0 && a.rotary_dim % 2 == 0 && a.rotary_dim <= a.head_dim,
            "rotary_dim " + std::to_string(a.rotary_dim) + " is not an even part of the head");
  c.require(std::isfinite(a.theta) && a.theta > 0.0f, "theta is not positive");
  if (c.has(factors)) c.vector_weight(factors, a.rotary_dim / 2);
}

/// K and V pages of the same geometry.
void check_kv_states(Checker& c, std::size_t k, std::size_t v) {
  c.state(k, StateKind::kv_k);
  c.state(v, StateKind::kv_v);
  c.require(c.in(k).shape.rank == 3 && c.dim(k, 1) == kPageTokens,
            "a page is not [kv_heads, " + std::to_string(kPageTokens) + ", head_dim]");
  c.require(c.in(k).shape == c.in(v).shape && c.in(k).dtype == c.in(v).dtype,
            "K and V pages differ");
  c.require(c.in(k).dtype == DType::f16 || c.in(k).dtype == DType::f32,
            "pages are neither f16 nor f32");
  c.require(c.in(k).kv == quant::KvFormat::plain && c.in(v).kv == quant::KvFormat::plain,
            "pages hold tiles");
}

/// K and V pages of tiles; their formats may differ.
void check_tiles(Checker& c, std::size_t k, std::size_t v) {
  c.state(k, StateKind::kv_k);
  c.state(v, StateKind::kv_v);
  c.require(c.in(k).shape.rank == 3 && c.dim(k, 1) == kPageTokens &&
                c.dim(k, 2) % quant::kKvChannels == 0,
            "a page is not [kv_heads, 64, a multiple of 64]");
  c.require(c.in(k).shape == c.in(v).shape, "K and V pages differ in shape");
  c.require(c.in(k).dtype == DType::f16 && c.in(v).dtype == DType::f16, "pages are not f16");
  c.require(c.in(k).kv != quant::KvFormat::plain && c.in(v).kv != quant::KvFormat::plain,
            "pages hold no tiles");
}

/// Pages at input k hold the heads of `n` that do not stream.
void check_page_heads(Checker& c, std::size_t k, const KvWindowAttr& a, std::int64_t n) {
  c.require(c.ok() && n <= 64 ? a.streaming >> (n - 1) >> 1 == 0 : a.streaming == 0,
            "heads stream that are not there");
  c.require(c.ok() && c.dim(k, 0) == a.page_head(n), "the page has other kv_heads");
}

/// Summaries of the K pages at input k.
void check_summaries(Checker& c, std::size_t k, std::size_t summaries) {
  c.state(summaries, StateKind::kv_summary);
  c.require(c.ok() && c.in(summaries).shape.rank == 2 && c.in(summaries).dtype == DType::f16 &&
                c.dim(summaries, 0) == c.dim(k, 0) &&
                c.dim(summaries, 1) == quant::kv_summary_values(c.dim(k, 2)),
            "the summaries are not [kv_heads, head_dim + 32] f16");
}

/// The window of the step's k and v (inputs k and k + 1).
void check_window(Checker& c, std::size_t k, std::size_t window, const KvWindowAttr& a) {
  c.activation(k);
  c.activation(k + 1);
  c.row_per_token(k);
  c.same_shape(k, k + 1);
  c.state(window, StateKind::kv_window);
  c.require(c.in(window).shape.rank == 3 && c.in(window).dtype == DType::f16,
            "the window is not [2 * kv_heads, slots, head_dim] f16");
  c.require(
      c.ok() && c.dim(window, 0) % 2 == 0 && c.dim(k, 1) == c.dim(window, 0) / 2 * c.dim(window, 2),
      "columns are not kv_heads * head_dim of the window");
  c.require(a.sinks >= 0 && a.sinks <= quant::kKvSinkTokens && a.recent >= 0,
            "sinks or recent are out of range");
  c.require(c.ok() && c.dim(window, 1) >=
                          quant::kKvSinkTokens + std::int64_t{a.recent} + quant::kKvTileTokens,
            "the window is too small");
}

}  // namespace

Status embed(Graph& graph, Node& node) {
  Checker c(graph, node);
  c.weight(0, 2);
  c.ids(1, 1);
  c.out(0, {c.dim(1, 0), c.dim(0, 1)}, DType::f32, 1);
  return c.status();
}

Status rms_norm(Graph& graph, Node& node) {
  Checker c(graph, node);
  c.attr<RmsNormAttr>();
  c.activation(0);
  c.weight(1, 1);
  c.require(c.ok() && c.dim(0, 1) % c.dim(1, 0) == 0, "columns are not whole groups of the weight");
  c.out(0, c.in(0).shape, DType::f32, 0);
  return c.status();
}

Status matmul(Graph& graph, Node& node) {
  Checker c(graph, node);
  c.activation(0);
  c.weight(1, 2);
  c.require(c.dim(0, 1) == c.dim(1, 1), "x and W differ in K");
  if (c.has(2)) c.vector_weight(2, c.dim(1, 0));
  c.out(0, {c.dim(0, 0), c.dim(1, 0)}, DType::f32, 0);
  return c.status();
}

Status add(Graph& graph, Node& node) {
  Checker c(graph, node);
  c.activation(0);
  c.activation(1);
  c.same_shape(0, 1);
  c.out(0, c.in(0).shape, DType::f32, 0);
  return c.status();
}

Status swiglu(Graph& graph, Node& node) {
  return add(graph, node);
}

Status rope(Graph& graph, Node& node) {
  Checker c(graph, node);
  check_rope(c, c.attr<RopeAttr>(), 1);
  c.out(0, c.in(0).shape, DType::f32, 0);
  return c.status();
}

Status kv_append(Graph& graph, Node& node) {
  Checker c(graph, node);
  c.activation(0);
  c.activation(1);
  c.row_per_token(0);
  c.same_shape(0, 1);
  check_kv_states(c, 2, 3);
  c.require(c.ok() && c.dim(0, 1) == c.dim(2, 0) * c.dim(2, 2),
            "columns are not kv_heads * head_dim of the page");
  return c.status();
}

Status attention(Graph& graph, Node& node) {
  Checker c(graph, node);
  const auto a = c.attr<AttentionAttr>();
  c.activation(0);
  c.row_per_token(0);
  check_kv_states(c, 1, 2);
  c.require(a.n_heads > 0 && a.n_kv_heads > 0 && a.head_dim > 0 && a.n_heads % a.n_kv_heads == 0,
            "heads are no multiple of kv_heads");
  c.require(c.dim(0, 1) == std::int64_t{a.n_heads} * a.head_dim,
            "columns are not heads * head_dim");
  c.require(c.dim(1, 0) == a.n_kv_heads && c.dim(1, 2) == a.head_dim,
            "the page has other kv_heads or head_dim");
  c.require(std::isfinite(a.scale) && a.window >= 0, "scale or window is out of range");
  c.out(0, c.in(0).shape, DType::f32, 0);
  return c.status();
}

Status rotate(Graph& graph, Node& node) {
  Checker c(graph, node);
  const auto a = c.attr<RotateAttr>();
  c.activation(0);
  c.require(!a.transform || c.dim(0, 1) % quant::kKvChannels == 0, "columns are no multiple of 64");
  if (c.has(1)) {
    c.vector_weight(1, c.dim(0, 1));
    c.require(c.in(1).dtype == DType::f32, "gains are not f32");
  }
  c.out(0, c.in(0).shape, DType::f32, 0);
  return c.status();
}

Status kv_seal(Graph& graph, Node& node) {
  Checker c(graph, node);
  const auto a = c.attr<KvWindowAttr>();
  check_tiles(c, 2, 3);
  check_window(c, 0, 4, a);
  if (c.ok()) check_page_heads(c, 2, a, c.dim(4, 0) / 2);
  c.require(c.ok() && c.dim(4, 2) == c.dim(2, 2), "the page has another head_dim");
  return c.status();
}

Status tile_attention(Graph& graph, Node& node) {
  Checker c(graph, node);
  const auto a = c.attr<AttentionAttr>();
  c.activation(0);
  c.row_per_token(0);
  check_tiles(c, 3, 4);
  check_window(c, 1, 5, a.tiles);
  c.require(a.n_heads > 0 && a.n_kv_heads > 0 && a.head_dim > 0 && a.n_heads % a.n_kv_heads == 0,
            "heads are no multiple of kv_heads");
  c.require(c.dim(0, 1) == std::int64_t{a.n_heads} * a.head_dim,
            "columns are not heads * head_dim");
  if (c.ok()) check_page_heads(c, 3, a.tiles, a.n_kv_heads);
  c.require(c.dim(3, 2) == a.head_dim && c.dim(5, 0) == 2 * std::int64_t{a.n_kv_heads} &&
                c.dim(5, 2) == a.head_dim,
            "the page or the window has other kv_heads or head_dim");
  c.require(std::isfinite(a.scale) && a.window == 0, "scale or window is out of range");
  c.require(a.sparse.pages >= 0 && a.sparse.pages <= quant::kKvMostPages && a.sparse.from >= 0,
            "sparse is out of range");
  c.require((a.sparse.pages > 0) == c.has(6), "pages are chosen by summaries");
  if (c.has(6)) check_summaries(c, 3, 6);
  c.out(0, c.in(0).shape, DType::f32, 0);
  return c.status();
}

Status kv_summary(Graph& graph, Node& node) {
  Checker c(graph, node);
  const auto a = c.attr<KvWindowAttr>();
  c.state(0, StateKind::kv_k);
  c.require(c.ok() && c.in(0).kv != quant::KvFormat::plain && c.in(0).dtype == DType::f16 &&
                c.in(0).shape.rank == 3 && c.dim(0, 1) == kPageTokens &&
                c.dim(0, 2) % quant::kKvChannels == 0,
            "a page is not tiles [kv_heads, 64, a multiple of 64]");
  c.require(a.recent >= 0, "recent is out of range");
  check_summaries(c, 0, 1);
  return c.status();
}

Status kv_window(Graph& graph, Node& node) {
  Checker c(graph, node);
  check_window(c, 0, 2, c.attr<KvWindowAttr>());
  return c.status();
}

Status short_conv(Graph& graph, Node& node) {
  Checker c(graph, node);
  const auto a = c.attr<ShortConvAttr>();
  c.activation(0);
  c.row_per_token(0);
  c.weight(1, 2);
  const std::int64_t d_model = c.dim(1, 0);
  c.require(c.dim(0, 1) % 3 == 0 && c.dim(0, 1) / 3 == d_model,
            "columns are not 3 times the filter's rows");
  c.require(a.kernel > 0 && c.dim(1, 1) == a.kernel,
            "the filter has not " + std::to_string(a.kernel) + " taps");
  c.state(2, StateKind::conv);
  c.require(c.in(2).shape.rank == 2 && c.in(2).dtype == DType::f32 && c.dim(2, 1) == d_model &&
                c.dim(2, 0) >= a.kernel - 1,
            "the ring is not [taps - 1 or more, channels] f32");
  if (c.has(3)) c.vector_weight(3, d_model);
  c.out(0, {c.dim(0, 0), d_model}, DType::f32, 0);
  return c.status();
}

Status moe_route(Graph& graph, Node& node) {
  Checker c(graph, node);
  const auto a = c.attr<MoeRouteAttr>();
  c.activation(0);
  c.require(a.n_used > 0 && a.n_used <= c.dim(0, 1),
            "cannot use " + std::to_string(a.n_used) + " of the experts");
  if (c.has(1)) c.vector_weight(1, c.dim(0, 1));
  const Shape chosen{c.dim(0, 0), a.n_used};
  c.out(0, chosen, DType::f32, 0);
  c.out(1, chosen, DType::i32, 0);
  return c.status();
}

Status moe_matmul(Graph& graph, Node& node) {
  Checker c(graph, node);
  c.activation(0);
  c.weight(1, 3);
  c.ids(2, 2);
  c.same_tokens(0, 2);
  c.require(c.dim(0, 1) == c.dim(1, 2), "x and W differ in K");
  std::uint64_t rows = 0;
  c.require(checked_mul(static_cast<std::uint64_t>(c.dim(2, 0)),
                        static_cast<std::uint64_t>(c.dim(2, 1)), &rows) &&
                rows <= kMaxElems,
            "too many rows");
  const auto out_rows = static_cast<std::int64_t>(rows);
  c.require(c.dim(0, 0) == c.dim(2, 0) || c.dim(0, 0) == out_rows,
            "x has neither one row per token nor one per chosen expert");
  c.out(0, {out_rows, c.dim(1, 1)}, DType::f32, 0);
  return c.status();
}

Status moe_sum(Graph& graph, Node& node) {
  Checker c(graph, node);
  c.activation(0);
  c.activation(1);
  c.same_tokens(0, 1);
  c.require(c.ok() && c.dim(0, 0) % c.dim(1, 0) == 0 && c.dim(0, 0) / c.dim(1, 0) == c.dim(1, 1),
            "y has not one row per weight");
  c.out(0, {c.dim(1, 0), c.dim(0, 1)}, DType::f32, 1);
  return c.status();
}

Status last_row(Graph& graph, Node& node) {
  Checker c(graph, node);
  c.activation(0);
  if (c.ok()) c.set_out(0, {1, c.dim(0, 1)}, DType::f32, false);
  return c.status();
}

Status argmax(Graph& graph, Node& node) {
  Checker c(graph, node);
  c.activation(0);
  c.require(c.dim(0, 1) <= INT32_MAX, "too many columns for i32 indices");
  c.out(0, {c.dim(0, 0)}, DType::i32, 0);
  return c.status();
}

Status add_rms_norm(Graph& graph, Node& node) {
  Checker c(graph, node);
  c.attr<RmsNormAttr>();
  c.activation(0);
  c.activation(1);
  c.same_shape(0, 1);
  c.weight(2, 1);
  c.require(c.ok() && c.dim(0, 1) % c.dim(2, 0) == 0, "columns are not whole groups of the weight");
  c.out(0, c.in(0).shape, DType::f32, 0);
  c.out(1, c.in(0).shape, DType::f32, 0);
  return c.status();
}

Status matmul_swiglu(Graph& graph, Node& node) {
  Checker c(graph, node);
  c.activation(0);
  c.weight(1, 2);
  c.weight(2, 2);
  c.require(c.in(1).shape == c.in(2).shape, "gate and up differ in shape");
  c.require(c.dim(0, 1) == c.dim(1, 1), "x and W differ in K");
  c.out(0, {c.dim(0, 0), c.dim(1, 0)}, DType::f32, 0);
  return c.status();
}

Status rms_norm_rope(Graph& graph, Node& node) {
  Checker c(graph, node);
  const auto a = c.attr<RopeAttr>();
  check_rope(c, a, 2);
  c.vector_weight(1, a.head_dim);
  c.out(0, c.in(0).shape, DType::f32, 0);
  return c.status();
}

}  // namespace runnel::infer
