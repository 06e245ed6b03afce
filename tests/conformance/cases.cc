// The rows of the conformance program. A new op adds one function and one line in all_cases().
// Sizes include 1, odd numbers, numbers that are no multiple of a vector or block, and larger ones.
#include <algorithm>
#include <array>
#include <cmath>

#include "tests/conformance/case.h"
#include "tests/conformance/kv_tile_cases.h"

namespace runnel::conformance {
namespace {

/// Compiled for `max` tokens, run with `used` of them from position `pos`.
struct Tokens {
  std::int32_t max, used, pos = 0;
};

Case make(Op op, const Tokens& tokens, const std::string& details, Attr attr = {}) {
  Case made;
  made.op = op;
  made.name = std::string(schema(op).name) + " T=" + std::to_string(tokens.used) + "/" +
              std::to_string(tokens.max) +
              (tokens.pos ? " pos=" + std::to_string(tokens.pos) : "") + " " + details;
  if (made.name.back() == ' ') made.name.pop_back();
  made.attr = attr;
  made.max_tokens = tokens.max;
  made.params.pos = tokens.pos;
  made.params.n_tokens = tokens.used;
  return made;
}

std::string text(const char* label, std::int64_t value) {
  return std::string(label) + std::to_string(value) + " ";
}

std::string name_of(DType dtype) {
  return std::string(quant::info(dtype).name);
}

Operand activation(std::int64_t rows, std::int64_t cols) {
  Operand made;
  made.shape = {rows, cols};
  return made;
}

/// Rows of unit expected length, so that products stay near 1.
Operand weight(const Shape& shape, DType dtype) {
  Operand made;
  made.role = Role::weight;
  made.shape = shape;
  made.dtype = dtype;
  if (shape.rank > 1) made.scale = 1.0f / std::sqrt(static_cast<float>(shape.cols()));
  return made;
}

Operand ids(const Shape& shape, std::int64_t limit, Fill fill) {
  Operand made;
  made.shape = shape;
  made.dtype = DType::i32;
  made.fill = fill;
  made.limit = limit;
  return made;
}

Operand state(const Shape& shape, DType dtype, StateKind kind) {
  Operand made;
  made.role = Role::state;
  made.shape = shape;
  made.dtype = dtype;
  made.state = kind;
  return made;
}

std::vector<DType> weight_types() {
  std::vector<DType> types;
  for (const quant::DTypeInfo& row : quant::kDTypes)
    if (row.type != DType::i32) types.push_back(row.type);
  return types;
}

/// Row lengths worth trying: any for plain types, whole blocks for others.
std::vector<std::int64_t> row_lengths(DType dtype) {
  const std::int64_t block = quant::info(dtype).block_elems;
  if (block == 1) return {1, 5, 33, 64, 300, 1024};
  if (block == 256) return {256, 512, 768, 2048};
  return {block, 3 * block, 5 * block, 32 * block};
}

void embed_cases(std::vector<Case>& cases) {
  for (DType dtype : weight_types())
    for (std::int64_t d : row_lengths(dtype))
      for (const Tokens& tokens : {Tokens{1, 1}, Tokens{9, 7}}) {
        Case made = make(Op::embed, tokens, name_of(dtype) + text(" D=", d));
        made.dtype = dtype;
        made.in = {weight({13, d}, dtype), ids({tokens.max}, 13, Fill::ids)};
        cases.push_back(made);
      }
}

void norm_cases(std::vector<Case>& cases) {
  struct Row {
    Tokens tokens;
    std::int64_t groups, d;
    float eps;
  };
  const Row rows[] = {{{1, 1}, 1, 1, 1e-5f},     {{1, 1}, 1, 1024, 1e-5f}, {{4, 3}, 1, 33, 1e-6f},
                      {{17, 17}, 3, 64, 1e-5f},  {{2, 1}, 16, 64, 1e-5f},  {{3, 3}, 1, 4100, 0.5f},
                      {{40, 33}, 1, 256, 1e-5f}, {{5, 5}, 7, 5, 1e-5f}};
  for (const Row& row : rows)
    for (DType dtype : {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_k}) {
      if (row.d % quant::info(dtype).block_elems != 0) continue;
      const std::string details = name_of(dtype) + text(" groups=", row.groups) + text("d=", row.d);
      const std::int64_t cols = row.groups * row.d;
      Case norm = make(Op::rms_norm, row.tokens, details, RmsNormAttr{row.eps});
      norm.in = {activation(row.tokens.max, cols), weight({row.d}, dtype)};
      cases.push_back(norm);
      Case fused = make(Op::add_rms_norm, row.tokens, details, RmsNormAttr{row.eps});
      fused.in = {activation(row.tokens.max, cols), activation(row.tokens.max, cols),
                  weight({row.d}, dtype)};
      cases.push_back(fused);
    }
}

void matmul_cases(std::vector<Case>& cases) {
  struct Row {
    Tokens tokens;
    std::int64_t n;
  };
  const Row rows[] = {{{1, 1}, 8},  {{1, 1}, 131}, {{3, 2}, 7},   {{8, 8}, 16},
                      {{9, 5}, 33}, {{17, 17}, 5}, {{70, 64}, 24}};
  for (DType dtype : weight_types())
    for (std::int64_t k : row_lengths(dtype))
      for (const Row& row : rows) {
        const std::string details = name_of(dtype) + text(" K=", k) + text("N=", row.n);
        Case plain = make(Op::matmul, row.tokens, details);
        plain.dtype = dtype;
        plain.in = {activation(row.tokens.max, k), weight({row.n, k}, dtype)};
        cases.push_back(plain);
        Case fused = make(Op::matmul_swiglu, row.tokens, details);
        fused.dtype = dtype;
        fused.in = {activation(row.tokens.max, k), weight({row.n, k}, dtype),
                    weight({row.n, k}, dtype)};
        cases.push_back(fused);
      }
  // So many results that a GPU may take larger tiles, each cut off at the last one.
  Case large = make(Op::matmul, {384, 300}, "f16 bias" + text(" K=", 192) + text("N=", 8200));
  large.dtype = DType::f16;
  large.in = {activation(384, 192), weight({8200, 192}, DType::f16), weight({8200}, DType::f32)};
  cases.push_back(large);
  for (DType dtype : weight_types()) {
    const std::int64_t k = row_lengths(dtype)[2];
    for (const Tokens& tokens : {Tokens{1, 1}, Tokens{6, 5}}) {
      Case biased = make(Op::matmul, tokens, name_of(dtype) + text(" bias K=", k));
      biased.dtype = dtype;
      biased.in = {activation(tokens.max, k), weight({19, k}, dtype), weight({19}, DType::f32)};
      cases.push_back(biased);
    }
    // The output head after last_row: one row, whatever the step's tokens.
    Case head = make(Op::matmul, {8, 6}, name_of(dtype) + text(" one row K=", k));
    head.dtype = dtype;
    head.in = {activation(1, k), weight({260, k}, dtype)};
    head.in[0].per_token = false;
    cases.push_back(head);
  }
}

void elementwise_cases(std::vector<Case>& cases) {
  for (Op op : {Op::add, Op::swiglu})
    for (const Tokens& tokens : {Tokens{1, 1}, Tokens{5, 3}, Tokens{16, 16}, Tokens{33, 31}})
      for (std::int64_t cols : {1, 7, 64, 1000}) {
        Case made = make(op, tokens, text("cols=", cols));
        made.in = {activation(tokens.max, cols), activation(tokens.max, cols)};
        if (op == Op::swiglu) made.in[0].scale = 8.0f;  // reaches both ends of the sigmoid
        cases.push_back(made);
      }
}

void rope_cases(std::vector<Case>& cases) {
  struct Row {
    int heads, head_dim, rotary_dim;
  };
  const Row rows[] = {{1, 2, 2}, {3, 64, 64}, {16, 64, 64}, {2, 128, 128}, {5, 80, 32}, {1, 6, 4}};
  const Tokens steps[] = {{1, 1, 0}, {1, 1, 31999}, {7, 5, 3}, {33, 33, 1000}};
  for (const Row& row : rows)
    for (const Tokens& tokens : steps)
      for (RopeStyle style : {RopeStyle::half, RopeStyle::interleaved})
        for (const bool factors : {false, true}) {
          RopeAttr attr{1e6f, row.head_dim, row.rotary_dim, style, 0.0f};
          const std::string details =
              text("heads=", row.heads) + text("dh=", row.head_dim) + text("rot=", row.rotary_dim) +
              (style == RopeStyle::half ? "half" : "interleaved") + (factors ? " factors" : "");
          Case rope = make(Op::rope, tokens, details, attr);
          rope.in = {activation(tokens.max, row.heads * row.head_dim)};
          attr.eps = 1e-5f;
          Case fused = make(Op::rms_norm_rope, tokens, details, attr);
          fused.in = {rope.in[0], weight({row.head_dim}, DType::f32)};
          if (factors) {
            Operand divisors = weight({row.rotary_dim / 2}, DType::f32);
            divisors.fill = Fill::ties;  // 1, 2, 3 ...: never near zero
            rope.in.push_back(divisors);
            fused.in.push_back(divisors);
          }
          cases.push_back(rope);
          cases.push_back(fused);
        }
}

void kv_cases(std::vector<Case>& cases) {
  struct Row {
    std::int64_t kv_heads, head_dim;
    Tokens tokens;
    std::int32_t kv_keep;
  };
  const Row rows[] = {
      {1, 1, {1, 1, 0}, 0},      {8, 64, {1, 1, 0}, 0},      {8, 64, {1, 1, 63}, 0},
      {8, 64, {1, 1, 64}, 0},    {2, 80, {9, 7, 60}, 0},     {3, 64, {70, 65, 0}, 0},
      {2, 64, {64, 64, 64}, 0},  {2, 33, {150, 140, 63}, 0}, {2, 64, {20, 20, 50}, 61},
      {2, 64, {20, 20, 50}, 66}, {2, 64, {8, 5, 10}, 100}};
  for (const Row& row : rows)
    for (DType dtype : {DType::f32, DType::f16}) {
      Case made = make(Op::kv_append, row.tokens,
                       name_of(dtype) + text(" G=", row.kv_heads) + text("dh=", row.head_dim) +
                           text("keep=", row.kv_keep));
      made.dtype = dtype;
      made.params.kv_keep = row.kv_keep;
      const Shape page{row.kv_heads, kPageTokens, row.head_dim};
      const std::int64_t cols = row.kv_heads * row.head_dim;
      made.in = {activation(row.tokens.max, cols), activation(row.tokens.max, cols),
                 state(page, dtype, StateKind::kv_k), state(page, dtype, StateKind::kv_v)};
      cases.push_back(made);
    }
}

void attention_cases(std::vector<Case>& cases) {
  struct Row {
    int heads, kv_heads, head_dim;
    Tokens tokens;
    int window;
  };
  const Row rows[] = {
      {1, 1, 1, {1, 1, 0}, 0},
      {1, 1, 64, {1, 1, 1}, 0},
      {16, 8, 64, {1, 1, 62}, 0},
      {16, 8, 64, {1, 1, 63}, 0},
      {16, 8, 64, {1, 1, 64}, 0},
      {32, 8, 64, {1, 1, 700}, 0},
      {4, 4, 33, {5, 4, 62}, 0},
      {8, 2, 128, {3, 3, 127}, 0},
      {6, 2, 80, {70, 66, 0}, 0},
      {9, 3, 64, {8, 8, 60}, 0},
      {8, 1, 64, {130, 130, 5}, 0},
      {4, 2, 64, {16, 16, 200}, 1},
      {4, 2, 64, {16, 16, 60}, 8},
      {4, 2, 64, {1, 1, 300}, 64},
      {4, 2, 64, {100, 90, 30}, 33},
      {4, 2, 64, {4, 4, 10}, 1000},
      {2, 1, 256, {2, 2, 40}, 0},
      // many tokens: groups of 1, 2, 3, 4, 8 query heads; a place within a page, at its edges, far
      {3, 3, 64, {64, 64, 0}, 0},
      {4, 2, 128, {65, 65, 63}, 0},
      {9, 3, 64, {48, 47, 64}, 0},
      {8, 2, 64, {90, 81, 511}, 0},
      {8, 1, 128, {33, 33, 1}, 0},
      {16, 1, 64, {21, 9, 127}, 0},
      {2, 2, 128, {150, 150, 0}, 0},
      {8, 2, 128, {70, 70, 190}, 64},
      {8, 1, 64, {40, 40, 300}, 9},
      {3, 1, 128, {80, 80, 17}, 100}};
  for (const Row& row : rows)
    for (DType dtype : {DType::f32, DType::f16}) {
      const float scale = 1.0f / std::sqrt(static_cast<float>(row.head_dim));
      Case made = make(Op::attention, row.tokens,
                       name_of(dtype) + text(" H=", row.heads) + text("G=", row.kv_heads) +
                           text("dh=", row.head_dim) + text("window=", row.window),
                       AttentionAttr{scale, row.heads, row.kv_heads, row.head_dim, row.window});
      // Names the tolerance: with few tokens nobody gains by rounding.
      made.dtype = row.tokens.max > 8 ? dtype : DType::f32;
      const Shape page{row.kv_heads, kPageTokens, row.head_dim};
      made.in = {activation(row.tokens.max, row.heads * row.head_dim),
                 state(page, dtype, StateKind::kv_k), state(page, dtype, StateKind::kv_v)};
      made.in[0].scale = 2.0f;  // scores spread enough to make a few keys dominate
      cases.push_back(made);
    }
}

void short_conv_cases(std::vector<Case>& cases) {
  struct Row {
    std::int64_t d;
    int taps;
    std::int64_t ring;
    Tokens tokens;
  };
  const Row rows[] = {{1, 3, 2, {1, 1, 0}},     {64, 3, 2, {1, 1, 1}},     {64, 3, 2, {1, 1, 7}},
                      {100, 3, 10, {1, 1, 9}},  {100, 3, 10, {1, 1, 10}},  {33, 3, 2, {4, 3, 0}},
                      {64, 3, 10, {40, 37, 8}}, {64, 3, 10, {6, 6, 7}},    {16, 7, 6, {5, 5, 3}},
                      {16, 7, 14, {20, 20, 0}}, {1030, 3, 4, {9, 9, 100}}, {8, 1, 1, {3, 3, 2}}};
  for (const Row& row : rows)
    for (const bool biased : {false, true}) {
      Case made = make(Op::short_conv, row.tokens,
                       text("D=", row.d) + text("L=", row.taps) + text("ring=", row.ring) +
                           (biased ? "bias" : ""),
                       ShortConvAttr{row.taps});
      made.in = {activation(row.tokens.max, 3 * row.d), weight({row.d, row.taps}, DType::f32),
                 state({row.ring, row.d}, DType::f32, StateKind::conv)};
      if (biased) made.in.push_back(weight({row.d}, DType::f32));
      cases.push_back(made);
    }
}

void moe_route_cases(std::vector<Case>& cases) {
  struct Row {
    std::int64_t experts;
    int used;
    Tokens tokens;
    bool normalise;
    float scale;
  };
  const Row rows[] = {{1, 1, {1, 1}, true, 1.0f},   {32, 4, {1, 1}, true, 1.0f},
                      {32, 4, {9, 7}, true, 1.0f},  {64, 4, {33, 33}, true, 2.5f},
                      {5, 2, {4, 4}, false, 1.0f},  {7, 7, {3, 2}, false, 0.5f},
                      {128, 8, {6, 6}, true, 1.0f}, {33, 3, {17, 16}, true, 1.0f}};
  for (const Row& row : rows)
    for (Gating gating : {Gating::sigmoid, Gating::softmax})
      for (Fill fill : {Fill::normal, Fill::ties})
        for (const bool biased : {false, true}) {
          Case made = make(Op::moe_route, row.tokens,
                           text("E=", row.experts) + text("k=", row.used) +
                               (gating == Gating::sigmoid ? "sigmoid" : "softmax") +
                               (row.normalise ? "" : " raw") + (fill == Fill::ties ? " ties" : "") +
                               (biased ? " bias" : ""),
                           MoeRouteAttr{row.used, gating, row.normalise, 1e-6f, row.scale});
          made.in = {activation(row.tokens.max, row.experts)};
          made.in[0].fill = fill;
          if (biased) made.in.push_back(weight({row.experts}, DType::f32));
          if (biased) made.in[1].fill = fill;
          cases.push_back(made);
        }
}

void moe_matmul_cases(std::vector<Case>& cases) {
  struct Row {
    Tokens tokens;
    std::int64_t experts, used, n;
    bool shared_x;  // one row of x per token, else one per chosen expert
  };
  const Row rows[] = {{{1, 1}, 8, 4, 9, true},    {{1, 1}, 8, 4, 9, false},
                      {{7, 5}, 5, 2, 16, true},   {{7, 5}, 5, 2, 16, false},
                      {{20, 20}, 4, 4, 3, true},  {{3, 3}, 2, 1, 33, true},
                      {{40, 33}, 5, 2, 76, true}, {{40, 33}, 5, 2, 76, false}};
  for (DType dtype : weight_types())
    for (std::size_t length : {0u, 2u})
      for (const Row& row : rows) {
        const std::int64_t k = row_lengths(dtype)[length];
        Case made =
            make(Op::moe_matmul, row.tokens,
                 name_of(dtype) + text(" E=", row.experts) + text("k=", row.used) + text("K=", k) +
                     text("N=", row.n) + (row.shared_x ? "shared" : "per expert"));
        made.dtype = dtype;
        made.in = {activation(row.tokens.max * (row.shared_x ? 1 : row.used), k),
                   weight({row.experts, row.n, k}, dtype),
                   ids({row.tokens.max, row.used}, row.experts, Fill::distinct)};
        cases.push_back(made);
      }
}

void small_cases(std::vector<Case>& cases) {
  for (const Tokens& tokens : {Tokens{1, 1}, Tokens{7, 5}, Tokens{33, 33}})
    for (std::int64_t d : {1, 33, 1024, 5001}) {
      for (std::int64_t used : {1, 4}) {
        Case sum = make(Op::moe_sum, tokens, text("k=", used) + text("D=", d));
        sum.in = {activation(tokens.max * used, d), activation(tokens.max, used)};
        cases.push_back(sum);
      }
      Case last = make(Op::last_row, tokens, text("D=", d));
      last.in = {activation(tokens.max, d)};
      cases.push_back(last);
    }
}

/// The vocabulary's row is that of a step; a piece of it may hold nothing but NaN and small values.
void argmax_cases(std::vector<Case>& cases) {
  constexpr std::array kFills{std::pair{Fill::normal, "normal"}, std::pair{Fill::ties, "ties"},
                              std::pair{Fill::nans, "nans"},
                              std::pair{Fill::nans_first, "nans first"}};
  for (const Tokens& tokens : {Tokens{1, 1}, Tokens{7, 5}, Tokens{33, 33}})
    for (std::int64_t d : {1, 33, 1024, 5001, 65536}) {
      if (d == 65536 && tokens.max > 1) continue;
      for (const auto& [fill, name] : kFills) {
        Case best = make(Op::argmax, tokens, text("V=", d) + name);
        best.in = {activation(tokens.max, d)};
        best.in[0].fill = fill;
        cases.push_back(best);
      }
    }
}

}  // namespace

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  embed_cases(cases);
  norm_cases(cases);
  matmul_cases(cases);
  elementwise_cases(cases);
  rope_cases(cases);
  kv_cases(cases);
  attention_cases(cases);
  kv_tile_cases(cases);
  short_conv_cases(cases);
  moe_route_cases(cases);
  moe_matmul_cases(cases);
  small_cases(cases);
  argmax_cases(cases);
  std::stable_sort(cases.begin(), cases.end(),
                   [](const Case& a, const Case& b) { return a.op < b.op; });
  return cases;
}

}  // namespace runnel::conformance
