// A row's bits depend neither on the number of threads nor on how the tokens are cut into steps.
#include "tests/unit/cpu/runner.h"

using namespace runnel;            // NOLINT: a test
using namespace runnel::cpu_test;  // NOLINT: a test

namespace {

/// Runs `build` whole on one thread, then with other cuts and thread counts, at every ISA level.
void check_all_cuts(const Build& build, std::int64_t n_tokens) {
  for (const std::string& isa : levels()) {
    CAPTURE(isa);
    const std::vector<Floats> whole = run({isa, 1}, build, n_tokens, n_tokens);
    for (const Floats& rows : whole)
      CHECK(std::none_of(rows.begin(), rows.end(), [](float v) { return v != v; }));
    struct Cut {
      int n_threads;
      std::int64_t chunk;
    };
    for (const Cut cut : {Cut{2, n_tokens}, Cut{3, n_tokens}, Cut{5, n_tokens}, Cut{1, 1},
                          Cut{2, 2}, Cut{3, 3}, Cut{2, 7}, Cut{5, 10}}) {
      CAPTURE(cut.n_threads);
      CAPTURE(cut.chunk);
      const std::vector<Floats> cut_up = run({isa, cut.n_threads}, build, n_tokens, cut.chunk);
      for (std::size_t i = 0; i < whole.size(); ++i) {
        CAPTURE(i);
        CHECK(same_bits(whole[i], cut_up[i]));
      }
    }
  }
}

constexpr DType kWeightTypes[] = {
    DType::f32,  DType::f16,    DType::bf16,   DType::q8_0,  DType::q4_0,  DType::q4_k,
    DType::q6_k, DType::q4_1,   DType::q5_0,   DType::q5_1,  DType::q2_k,  DType::q3_k,
    DType::q5_k, DType::iq4_nl, DType::iq4_xs, DType::tq1_0, DType::tq2_0, DType::mxfp4};

/// 37 weight rows: whole tiles, a rest, and more than one slab.
Build products(DType type) {
  return [type](Program& p) {
    const std::int64_t block = quant::info(type).block_elems;
    const std::int64_t k = block == 256 ? 768 : block == 32 ? 1120 : 75;
    const ValueId x = p.input(k);
    const ValueId y = p.node(Op::matmul, {x, p.weight({37, k}, type), p.weight({37})});
    const ValueId gated =
        p.node(Op::matmul_swiglu, {x, p.weight({37, k}, type), p.weight({37, k}, type)});
    std::vector<std::int32_t> experts;
    for (std::int32_t t = 0; t < p.total; ++t) {
      experts.push_back(t % 3);
      experts.push_back((t + 1) % 4);
    }
    const ValueId mixed =
        p.node(Op::moe_matmul, {x, p.weight({4, 37, k}, type), p.ids(2, experts)});
    return std::vector<ValueId>{y, gated, mixed};
  };
}

Build attend(DType pages, int head_dim, int window) {
  return [=](Program& p) {
    const int n_heads = 6, n_kv_heads = 2;
    const ValueId q = p.input(n_heads * head_dim);
    const ValueId k = p.input(n_kv_heads * head_dim), v = p.input(n_kv_heads * head_dim);
    const Shape page{n_kv_heads, kPageTokens, head_dim};
    const ValueId k_state = p.state(page, pages, StateKind::kv_k);
    const ValueId v_state = p.state(page, pages, StateKind::kv_v);
    p.node(Op::kv_append, {k, v, k_state, v_state});
    AttentionAttr attr;
    attr.scale = 0.2f;
    attr.n_heads = n_heads;
    attr.n_kv_heads = n_kv_heads;
    attr.head_dim = head_dim;
    attr.window = window;
    return std::vector<ValueId>{p.node(Op::attention, {q, k_state, v_state}, attr)};
  };
}

}  // namespace

TEST_CASE("Matrix products have the same bits in every cut") {
  for (DType type : kWeightTypes) {
    CAPTURE(quant::info(type).name);
    check_all_cuts(products(type), 23);
  }
}

TEST_CASE("Matrix products over several blocks of k have the same bits in every cut") {
  const Build build = [](Program& p) {
    const ValueId x = p.input(1100);
    return std::vector<ValueId>{p.node(Op::matmul, {x, p.weight({37, 1100}, DType::bf16)}),
                                p.node(Op::matmul, {x, p.weight({37, 1100}, DType::f32)})};
  };
  check_all_cuts(build, 23);
}

TEST_CASE("Products with hundreds of tokens have the same bits in every cut") {
  for (DType type : {DType::q4_0, DType::q4_k, DType::q6_k, DType::bf16}) {
    CAPTURE(quant::info(type).name);
    for (const std::string& isa : levels()) {
      CAPTURE(isa);
      const Build build = [type](Program& p) {
        const ValueId x = p.input(1280);
        const ValueId y = p.node(Op::matmul, {x, p.weight({37, 1280}, type)});
        const ValueId gated =
            p.node(Op::matmul_swiglu, {x, p.weight({37, 1280}, type), p.weight({37, 1280}, type)});
        return std::vector<ValueId>{y, gated};
      };
      const std::vector<Floats> whole = run({isa, 2}, build, 299, 299);
      const std::vector<Floats> cut = run({isa, 2}, build, 299, 7);
      for (std::size_t i = 0; i < whole.size(); ++i) CHECK(same_bits(whole[i], cut[i]));
    }
  }
}

TEST_CASE("Attention has the same bits in every cut") {
  check_all_cuts(attend(DType::f16, 64, 0), 150);
  check_all_cuts(attend(DType::f32, 64, 0), 150);
  check_all_cuts(attend(DType::f16, 40, 0), 80);
  check_all_cuts(attend(DType::f32, 24, 0), 80);
  check_all_cuts(attend(DType::f16, 32, 70), 200);
  check_all_cuts(attend(DType::f32, 8, 5), 140);
}

TEST_CASE("Convolution has the same bits in every cut, with a ring of any size") {
  for (std::int64_t taps : {1, 3, 7})
    for (std::int64_t spare : {0, 1, 5}) {
      const Build build = [=](Program& p) {
        const std::int64_t d = 35;
        const ValueId bcx = p.input(3 * d), filter = p.weight({d, taps}), bias = p.weight({d});
        const std::int64_t columns = std::max<std::int64_t>(1, taps - 1 + spare);
        const ValueId ring = p.state({columns, d}, DType::f32, StateKind::conv);
        ShortConvAttr attr;
        attr.kernel = static_cast<int>(taps);
        return std::vector<ValueId>{p.node(Op::short_conv, {bcx, filter, ring, bias}, attr)};
      };
      check_all_cuts(build, 29);
    }
}

TEST_CASE("Ops on rows and heads have the same bits in every cut") {
  const Build build = [](Program& p) {
    const ValueId a = p.input(90), b = p.input(90), norm = p.weight({90}), head = p.weight({30});
    const ValueId both = p.node(Op::add_rms_norm, {a, b, norm}, RmsNormAttr{});
    RopeAttr rope;
    rope.head_dim = 30;
    rope.rotary_dim = 22;
    rope.eps = 1e-5f;
    const ValueId rotated = p.node(Op::rms_norm_rope, {a, head}, rope);
    rope.style = RopeStyle::interleaved;
    rope.eps = 0;
    const ValueId other = p.node(Op::rope, {b}, rope);
    const ValueId logits = p.input(9);
    MoeRouteAttr route;
    route.n_used = 3;
    const ValueId weights = p.node(Op::moe_route, {logits, p.weight({9})}, route);
    return std::vector<ValueId>{both,
                                both + 1,
                                rotated,
                                other,
                                p.node(Op::add, {a, b}),
                                p.node(Op::swiglu, {a, b}),
                                p.node(Op::argmax, {a}),
                                weights,
                                weights + 1};
  };
  check_all_cuts(build, 23);
}
