// Every pair of K and V formats; lengths around every boundary: a tile (15, 16, 17 tokens), the
// first sealed tile (143, 144, 145), pages; keys and values that quantise badly.
#include "tests/conformance/kv_tile_cases.h"

#include <cmath>

#include "quant/kv_sparse.h"

namespace runnel::conformance {
namespace {

using quant::KvFormat;

struct Shapes {
  int heads, kv_heads, head_dim;
};
struct Window {
  int sinks, recent;
};
struct Step {  // in places: positions are `gap` more
  std::int32_t pos, n;
  std::int32_t kv_keep = 0;
  std::int32_t gap = 0;
};

constexpr Window kDefault{16, 128};

Operand activation(std::int64_t rows, std::int64_t cols) {
  Operand made;
  made.shape = {rows, cols};
  return made;
}

Operand state(const Shape& shape, StateKind kind, KvFormat format) {
  Operand made;
  made.role = Role::state;
  made.shape = shape;
  made.dtype = DType::f16;
  made.state = kind;
  made.kv = format;
  return made;
}

std::string numbers(const char* label, std::initializer_list<std::int64_t> values) {
  std::string text = label;
  for (const std::int64_t value : values) text += std::to_string(value) + ",";
  text.back() = ' ';
  return text;
}

/// Operands and parameters that the ops share; in = {k, v, window}.
Case make(Op op, const Shapes& shapes, const Window& window, const Step& step, Fill fill) {
  Case made;
  made.op = op;
  made.dtype = DType::f16;
  made.max_tokens = step.n + step.n / 3;
  made.params.pos = step.pos + step.gap;
  made.params.n_tokens = step.n;
  made.params.kv_keep = step.kv_keep + step.gap;
  made.params.kv_gap = step.gap;
  made.name = std::string(schema(op).name) + " T=" + std::to_string(step.n) + "/" +
              std::to_string(made.max_tokens) + " pos=" + std::to_string(step.pos) + " " +
              (step.kv_keep > 0 ? numbers("keep=", {step.kv_keep}) : "") +
              (step.gap > 0 ? numbers("gap=", {step.gap}) : "") +
              numbers("H,G,dh=", {shapes.heads, shapes.kv_heads, shapes.head_dim}) +
              numbers("sinks,recent=", {window.sinks, window.recent}) +
              numbers("fill=", {static_cast<int>(fill)});
  Operand rows = activation(made.max_tokens, shapes.kv_heads * shapes.head_dim);
  rows.half = true;
  rows.fill = fill;
  const std::int64_t ring = window.recent + 48;
  Operand slots = state({2 * shapes.kv_heads, quant::kKvSinkTokens + ring, shapes.head_dim},
                        StateKind::kv_window, KvFormat::plain);
  slots.fill = fill;
  made.in = {rows, rows, slots};
  return made;
}

Case attention_case(const Shapes& shapes,
                    const Window& window,
                    const Step& step,
                    quant::KvPair formats,
                    Fill fill) {
  Case made = make(Op::tile_attention, shapes, window, step, fill);
  made.name += std::string(info(formats.k).name) + " " + std::string(info(formats.v).name);
  AttentionAttr attr{1.0f / std::sqrt(static_cast<float>(shapes.head_dim)),
                     shapes.heads,
                     shapes.kv_heads,
                     shapes.head_dim,
                     0,
                     {window.sinks, window.recent}};
  made.attr = attr;
  const bool fine = formats.k == KvFormat::kt8 && formats.v == KvFormat::kt8;
  // Only names the tolerance: with few tokens nobody gains by rounding to f16.
  made.dtype = !fine ? DType::q4_0 : made.max_tokens > 8 ? DType::f16 : DType::q8_0;
  const Shape page{shapes.kv_heads, kPageTokens, shapes.head_dim};
  Operand k = state(page, StateKind::kv_k, formats.k), v = state(page, StateKind::kv_v, formats.v);
  k.fill = v.fill = fill;
  made.in = {activation(made.max_tokens, shapes.heads * shapes.head_dim),
             made.in[0],
             made.in[1],
             k,
             v,
             made.in[2]};
  made.in[0].scale = 2.0f;
  return made;
}

std::vector<KvFormat> tiled_formats() {
  std::vector<KvFormat> formats;
  for (const quant::KvFormatInfo& row : quant::kKvFormats)
    if (row.bits > 0) formats.push_back(row.format);
  return formats;
}

void attention_cases(std::vector<Case>& cases) {
  const Shapes shapes{4, 2, 64};
  for (const KvFormat k : tiled_formats())
    for (const KvFormat v : tiled_formats()) {
      const quant::KvPair pair{k, v};
      for (const Step& step : {Step{399, 1}, Step{130, 70}})
        cases.push_back(attention_case(shapes, kDefault, step, pair, Fill::normal));
      cases.push_back(attention_case(shapes, {0, 0}, {130, 70}, pair, Fill::normal));
    }
  const quant::KvPair mixed{KvFormat::kt8, KvFormat::kt4}, low{KvFormat::kt3, KvFormat::kt2};
  for (const std::int32_t length : {1,   15,  16,  17,  31,  32,  33,  63,  64,  65,  143, 144,
                                    145, 159, 160, 161, 191, 192, 193, 207, 208, 209, 1000})
    for (const Window& window : {kDefault, Window{0, 0}, Window{16, 0}, Window{0, 128}}) {
      cases.push_back(attention_case(shapes, window, {length - 1, 1}, mixed, Fill::normal));
      cases.push_back(attention_case(shapes, window, {0, length}, low, Fill::normal));
    }
  for (const Fill fill : {Fill::zeros, Fill::one_hot, Fill::biased})
    for (const KvFormat format : tiled_formats())
      cases.push_back(attention_case(shapes, kDefault, {200, 5}, {format, format}, fill));
  for (const Shapes& other : {Shapes{1, 1, 64}, Shapes{32, 8, 64}, Shapes{6, 2, 128},
                              Shapes{9, 3, 64}, Shapes{16, 1, 128}})
    for (const Step& step : {Step{300, 1}, Step{250, 37}, Step{170, 20, 185}, Step{300, 1, 0, 192},
                             Step{250, 37, 0, 64}, Step{170, 20, 185, 704}})
      for (const quant::KvPair& pair : {mixed, low, quant::KvPair{KvFormat::kt4, KvFormat::kt8}})
        cases.push_back(attention_case(other, kDefault, step, pair, Fill::normal));
}

Operand summaries(const Shapes& shapes) {
  return state({shapes.kv_heads, quant::kv_summary_values(shapes.head_dim)}, StateKind::kv_summary,
               KvFormat::plain);
}

/// From nothing chosen to more pages asked for than there are; a step that begins before `from`.
void sparse_cases(std::vector<Case>& cases) {
  const quant::KvPair mixed{KvFormat::kt8, KvFormat::kt4}, low{KvFormat::kt3, KvFormat::kt2};
  for (const Shapes& shapes :
       {Shapes{4, 2, 64}, Shapes{32, 8, 64}, Shapes{6, 2, 128}, Shapes{1, 1, 64}})
    for (const Step& step : {Step{1500, 1}, Step{2999, 1, 0, 192}, Step{1200, 70}, Step{500, 40},
                             Step{300, 5}, Step{1500, 20, 1510}})
      for (const SparseAttr& sparse :
           {SparseAttr{512, 1}, SparseAttr{512, 5}, SparseAttr{0, 100}, SparseAttr{1230, 3}})
        for (const quant::KvPair& pair : {mixed, low}) {
          Case made = attention_case(shapes, kDefault, step, pair, Fill::normal);
          made.name += numbers(" sparse=", {sparse.from, sparse.pages});
          std::get<AttentionAttr>(made.attr).sparse = sparse;
          made.in.push_back(summaries(shapes));
          cases.push_back(made);
        }
}

/// Heads that see sinks and recent rows only, alone and beside chosen pages.
void streaming_cases(std::vector<Case>& cases) {
  const quant::KvPair mixed{KvFormat::kt8, KvFormat::kt4};
  const Shapes shapes{16, 8, 64};
  constexpr std::uint64_t kMask = 0b10110010;
  for (const Step& step : {Step{399, 1}, Step{130, 70}, Step{1200, 20}, Step{50, 5}}) {
    Case made = attention_case(shapes, kDefault, step, mixed, Fill::normal);
    made.name += " streaming";
    auto& attr = std::get<AttentionAttr>(made.attr);
    attr.tiles.streaming = kMask;
    for (const std::size_t pages : {3, 4}) made.in[pages].shape.dim[0] = attr.tiles.page_head(8);
    cases.push_back(made);
    attr.sparse = {300, 2};
    made.name += " sparse";
    Shapes tiled = shapes;
    tiled.kv_heads = static_cast<int>(attr.tiles.page_head(8));
    made.in.push_back(summaries(tiled));
    cases.push_back(made);
    Case seal = make(Op::kv_seal, shapes, kDefault, step, Fill::normal);
    seal.name += "streaming";
    seal.attr = KvWindowAttr{16, 128, kMask};
    // Only what the window still holds can be sealed.
    seal.params.kv_sealed =
        static_cast<std::int32_t>(quant::kv_sealed_before(step.pos, kDefault.recent));
    const Shape page{tiled.kv_heads, kPageTokens, shapes.head_dim};
    seal.in = {seal.in[0], seal.in[1], state(page, StateKind::kv_k, KvFormat::kt4),
               state(page, StateKind::kv_v, KvFormat::kt3), seal.in[2]};
    cases.push_back(seal);
  }
}

void summary_cases(std::vector<Case>& cases) {
  struct Row {
    Step step;
    std::int32_t sealed;
    Window window;
  };
  const Row rows[] = {{{0, 600}, 0, kDefault},           {{0, 200}, 0, {0, 0}},
                      {{255, 1}, 112, kDefault},         {{319, 1}, 176, kDefault},
                      {{320, 1}, 192, kDefault},         {{500, 100}, 368, kDefault},
                      {{500, 100, 0, 64}, 368, kDefault}};
  for (const Row& row : rows)
    for (const KvFormat k : tiled_formats())
      for (const Shapes& shapes : {Shapes{4, 2, 64}, Shapes{2, 1, 128}}) {
        Case made = make(Op::kv_summary, shapes, row.window, row.step, Fill::normal);
        made.name += std::string(info(k).name);
        made.attr = KvWindowAttr{row.window.sinks, row.window.recent};
        made.params.kv_sealed = row.sealed + row.step.gap;
        const Shape page{shapes.kv_heads, kPageTokens, shapes.head_dim};
        made.in = {state(page, StateKind::kv_k, k), summaries(shapes)};
        cases.push_back(made);
      }
}

void seal_cases(std::vector<Case>& cases) {
  struct Row {
    Step step;
    std::int32_t sealed;
    Window window;
  };
  const Row rows[] = {{{143, 1}, 0, {0, 128}},
                      {{142, 1}, 0, {0, 128}},
                      {{159, 1}, 16, kDefault},
                      {{0, 300}, 0, kDefault},
                      {{150, 200}, 16, kDefault},
                      {{10, 60}, 0, {0, 0}},
                      {{0, 16}, 0, {0, 0}},
                      {{140, 40, 155}, 0, {0, 128}},
                      {{300, 30, 310}, 160, {16, 128}},
                      {{300, 30, 310, 64}, 160, kDefault},
                      {{290, 40, 0, 832}, 128, kDefault}};
  for (const Row& row : rows)
    for (const KvFormat k : tiled_formats())
      for (const Shapes& shapes : {Shapes{4, 2, 64}, Shapes{2, 1, 128}}) {
        const KvFormat v = k == KvFormat::kt8 ? KvFormat::kt3 : k;
        Case made = make(Op::kv_seal, shapes, row.window, row.step, Fill::normal);
        made.name += std::string(info(k).name) + " " + std::string(info(v).name);
        made.attr = KvWindowAttr{row.window.sinks, row.window.recent};
        made.params.kv_sealed = row.sealed + row.step.gap;
        const Shape page{shapes.kv_heads, kPageTokens, shapes.head_dim};
        made.in = {made.in[0], made.in[1], state(page, StateKind::kv_k, k),
                   state(page, StateKind::kv_v, v), made.in[2]};
        cases.push_back(made);
      }
}

void window_cases(std::vector<Case>& cases) {
  for (const Step& step : {Step{0, 1}, Step{0, 20}, Step{10, 10}, Step{500, 1}, Step{170, 300},
                           Step{40, 20, 50}, Step{40, 5, 60}, Step{330, 50, 340, 192}})
    for (const Window& window : {kDefault, Window{0, 0}})
      for (const Shapes& shapes : {Shapes{4, 2, 64}, Shapes{2, 1, 128}}) {
        Case made = make(Op::kv_window, shapes, window, step, Fill::normal);
        made.attr = KvWindowAttr{window.sinks, window.recent};
        cases.push_back(made);
      }
}

void rotate_cases(std::vector<Case>& cases) {
  for (const std::int32_t n : {1, 5, 33})
    for (const std::int64_t vectors : {1, 2, 32})
      for (const auto direction : {quant::Direction::forward, quant::Direction::inverse})
        for (const bool transform : {true, false})
          for (const bool gains : {false, true}) {
            Case made;
            made.op = Op::rotate;
            made.max_tokens = n + 1;
            made.params.n_tokens = n;
            made.name = "rotate T=" + std::to_string(n) + " n=" + std::to_string(vectors) +
                        (direction == quant::Direction::forward ? " forward" : " inverse") +
                        (transform ? "" : " round only") + (gains ? " gains" : "");
            made.attr = RotateAttr{quant::hadamard_signs(n, 0), direction, transform, !gains};
            made.in = {activation(n + 1, vectors * quant::kKvChannels)};
            if (gains) {
              Operand gain;
              gain.role = Role::weight;
              gain.shape = {vectors * quant::kKvChannels};
              gain.fill = Fill::ties;
              made.in.push_back(gain);
            }
            cases.push_back(made);
          }
}

}  // namespace

void kv_tile_cases(std::vector<Case>& cases) {
  rotate_cases(cases);
  seal_cases(cases);
  attention_cases(cases);
  summary_cases(cases);
  sparse_cases(cases);
  streaming_cases(cases);
  window_cases(cases);
}

}  // namespace runnel::conformance
