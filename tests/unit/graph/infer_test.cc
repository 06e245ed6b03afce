// One wrong operand makes any node invalid: each op with valid operands, then with each operand in
// turn of another dtype, rank, role, width or kind of rows.
#include "runtime/graph/infer.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "quant/kv_sparse.h"

using namespace runnel;

namespace {

constexpr std::int64_t kTokens = 8;

struct Row {
  Op op;
  Attr attr;
  std::vector<Value> in;
  // Bit i: input i may be wider; input i may have rows that are not per token.
  unsigned free_width = 0, free_rows = 0;
};

Value make(Role role, const Shape& shape, DType dtype, StateKind kind = StateKind::none) {
  Value value;
  value.name = "v";
  value.role = role;
  value.shape = shape;
  value.dtype = dtype;
  value.state = kind;
  value.per_token = role == Role::input;
  return value;
}

Value act(std::int64_t cols, std::int64_t rows = kTokens) {
  return make(Role::input, {rows, cols}, DType::f32);
}

Value weight(const Shape& shape) {
  return make(Role::weight, shape, DType::f32);
}

std::vector<Row> valid_rows() {
  const RopeAttr rope{1e6f, 16, 16, RopeStyle::half, 1e-5f};
  const Shape page{2, kPageTokens, 16};
  const Value k = make(Role::state, page, DType::f16, StateKind::kv_k);
  const Value v = make(Role::state, page, DType::f16, StateKind::kv_v);
  Value k_tiles = make(Role::state, {2, kPageTokens, 64}, DType::f16, StateKind::kv_k);
  Value v_tiles = make(Role::state, {2, kPageTokens, 64}, DType::f16, StateKind::kv_v);
  k_tiles.kv = quant::KvFormat::kt4;
  v_tiles.kv = quant::KvFormat::kt2;
  const Value window = make(Role::state, {4, 64, 64}, DType::f16, StateKind::kv_window);
  const Value summaries =
      make(Role::state, {2, quant::kv_summary_values(64)}, DType::f16, StateKind::kv_summary);
  const KvWindowAttr tiles{16, 32};
  const Value ring = make(Role::state, {4, 10}, DType::f32, StateKind::conv);
  const Value ids = make(Role::input, {kTokens}, DType::i32);
  const Value chosen = make(Role::input, {kTokens, 2}, DType::i32);
  MoeRouteAttr route;
  route.n_used = 2;
  return {
      {Op::embed, {}, {weight({100, 32}), ids}, 0b11, 0b10},
      {Op::rms_norm, RmsNormAttr{}, {act(32), weight({16})}, 0, 0b1},
      {Op::matmul, {}, {act(32), weight({5, 32}), weight({5})}, 0, 0b1},
      {Op::add, {}, {act(32), act(32)}},
      {Op::swiglu, {}, {act(32), act(32)}},
      {Op::rope, rope, {act(32), weight({8})}},
      {Op::kv_append, {}, {act(32), act(32), k, v}},
      {Op::attention, AttentionAttr{1, 4, 2, 16, 0}, {act(64), k, v}},
      {Op::rotate, RotateAttr{}, {act(128), weight({128})}, 0, 0b1},
      {Op::kv_seal, tiles, {act(128), act(128), k_tiles, v_tiles, window}},
      {Op::kv_summary, tiles, {k_tiles, summaries}},
      {Op::tile_attention,
       AttentionAttr{1, 4, 2, 64, 0, tiles, {1000, 4}},
       {act(256), act(128), act(128), k_tiles, v_tiles, window, summaries}},
      {Op::kv_window, tiles, {act(128), act(128), window}},
      {Op::short_conv, ShortConvAttr{3}, {act(30), weight({10, 3}), ring, weight({10})}},
      {Op::moe_route, route, {act(6), weight({6})}, 0, 0b1},
      {Op::moe_matmul, {}, {act(32), weight({6, 5, 32}), chosen}, 0b100},
      {Op::moe_sum, {}, {act(32, 2 * kTokens), act(2)}, 0b1},
      {Op::last_row, {}, {act(32)}, 0b1, 0b1},
      {Op::argmax, {}, {act(32)}, 0b1, 0b1},
      {Op::add_rms_norm, RmsNormAttr{}, {act(32), act(32), weight({16})}},
      {Op::matmul_swiglu, {}, {act(32), weight({5, 32}), weight({5, 32})}, 0, 0b1},
      {Op::rms_norm_rope, rope, {act(32), weight({16}), weight({8})}},
  };
}

Status try_row(const Row& row) {
  Graph graph(kTokens);
  std::vector<ValueId> in;
  for (const Value& value : row.in) in.push_back(graph.add_value(value));
  return graph.add_node(row.op, in, row.attr, "node").status();
}

void check_refused(const Row& row, std::size_t operand, const char* change) {
  const std::string name(schema(row.op).name);
  CAPTURE(name);
  CAPTURE(operand);
  CAPTURE(std::string(change));
  CHECK(try_row(row).code() == Code::invalid_argument);
}

}  // namespace

TEST_CASE("Infer.AcceptsAValidNodeOfEveryOp") {
  const std::vector<Row> rows = valid_rows();
  REQUIRE(rows.size() == static_cast<std::size_t>(Op::count));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i].op == static_cast<Op>(i));
    const Status status = try_row(rows[i]);
    CAPTURE(status.message());
    CHECK(status.ok());
  }
}

TEST_CASE("Infer.RefusesOneWrongOperand") {
  for (const Row& valid : valid_rows())
    for (std::size_t i = 0; i < valid.in.size(); ++i) {
      Row row = valid;
      Value& value = row.in[i];
      const Value good = value;
      value.dtype = good.role == Role::weight ? DType::i32 : DType::bf16;
      check_refused(row, i, "dtype");
      value = good;
      value.shape.dim[static_cast<std::size_t>(value.shape.rank++)] = 1;
      check_refused(row, i, "rank");
      value = good;
      value.role = good.role == Role::state ? Role::temp : Role::state;
      check_refused(row, i, "role");
      value = good;
      value.shape.dim[static_cast<std::size_t>(value.shape.rank - 1)] += 1;
      if ((valid.free_width >> i & 1) == 0) check_refused(row, i, "width");
      value = good;
      value.per_token = !value.per_token;
      if (good.role == Role::input && (valid.free_rows >> i & 1) == 0)
        check_refused(row, i, "rows");
      value = good;
      value.shape.dim[0] = 0;
      check_refused(row, i, "no rows");
    }
}

TEST_CASE("Infer.RefusesTheAttributesOfAnotherOp") {
  for (Row row : valid_rows()) {
    if (std::holds_alternative<std::monostate>(row.attr)) continue;
    row.attr = std::monostate{};
    check_refused(row, 0, "attributes");
  }
}

TEST_CASE("Infer.RefusesWhatIsWrongInPairs") {
  std::vector<Row> rows = valid_rows();
  const auto row_of = [&](Op op) { return rows[static_cast<std::size_t>(op)]; };
  Row pages = row_of(Op::attention);
  pages.in[1].dtype = pages.in[2].dtype = DType::bf16;
  check_refused(pages, 1, "page dtype");
  pages = row_of(Op::attention);
  std::swap(pages.in[1], pages.in[2]);
  check_refused(pages, 1, "swapped");
  pages.in[1] = pages.in[2];
  check_refused(pages, 2, "K twice");
  for (Op op : {Op::kv_append, Op::add, Op::swiglu, Op::add_rms_norm, Op::matmul_swiglu}) {
    Row row = row_of(op);  // consistent with each other, not with the rest
    for (Value& value : row.in)
      if (value.role == Role::input) value.dtype = DType::f16;
    check_refused(row, 0, "f16 activations");
  }
  for (Op op : {Op::kv_seal, Op::tile_attention}) {
    Row row = row_of(op);
    const std::size_t k = op == Op::kv_seal ? 2 : 3;
    row.in[k].kv = row.in[k + 1].kv = quant::KvFormat::plain;
    check_refused(row, k, "rows for tiles");
    row = row_of(op);
    row.in[k + 2].shape.dim[1] = 16 + 32 + 15;
    check_refused(row, k + 2, "window too small");
  }
  Row sparse = row_of(Op::tile_attention);
  sparse.in.pop_back();
  check_refused(sparse, 6, "no summaries");
  std::get<AttentionAttr>(sparse.attr).sparse = {};
  CHECK(try_row(sparse).ok());
  sparse.in.push_back(row_of(Op::tile_attention).in[6]);
  check_refused(sparse, 6, "summaries that nothing reads");
  for (const int pages_chosen : {-1, quant::kKvMostPages + 1}) {
    sparse = row_of(Op::tile_attention);
    std::get<AttentionAttr>(sparse.attr).sparse.pages = pages_chosen;
    check_refused(sparse, 6, "pages");
  }
  for (Op op : {Op::kv_seal, Op::tile_attention})
    for (const std::uint64_t mask :
         {std::uint64_t{0b01}, std::uint64_t{0b100}, std::uint64_t{0b11}}) {
      Row row = row_of(op);
      if (op == Op::kv_seal)
        std::get<KvWindowAttr>(row.attr).streaming = mask;
      else
        std::get<AttentionAttr>(row.attr).tiles.streaming = mask;
      check_refused(row, 2, "pages hold heads that stream");
    }
  pages = row_of(Op::attention);
  pages.in[1].kv = pages.in[2].kv = quant::KvFormat::kt4;
  check_refused(pages, 1, "tiles for rows");
  Row vector = row_of(Op::kv_append);
  vector.in[0].per_token = vector.in[1].per_token = false;
  check_refused(vector, 0, "rows of no token");
  Row shape = row_of(Op::kv_append);
  shape.in[0].shape = shape.in[1].shape = {4, 32};
  check_refused(shape, 0, "too few rows");
  Row gate = row_of(Op::matmul_swiglu);
  gate.in[1].shape = gate.in[2].shape = {5, 31};
  check_refused(gate, 1, "K");
  gate.in[1].shape = gate.in[2].shape = {5, 32, 1};
  check_refused(gate, 1, "rank");
}

TEST_CASE("Infer.RefusesHugeResults") {
  std::vector<Row> rows = valid_rows();
  Row embed = rows[static_cast<std::size_t>(Op::embed)];
  embed.in[0].shape = {2, std::int64_t{1} << 46};
  check_refused(embed, 0, "8 * 2^46 elements");
  Row argmax = rows[static_cast<std::size_t>(Op::argmax)];
  argmax.in[0].shape = {kTokens, std::int64_t{1} << 31};
  check_refused(argmax, 0, "index beyond i32");
}
