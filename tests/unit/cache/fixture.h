// A cache with two convolutions and one attention layer, and ways to fill it.
#pragma once
#include <numeric>

#include "runtime/cache/cache.h"
#include "tests/unit/compile/fake_backend.h"

namespace runnel::tests {

inline constexpr std::int64_t kRing = 6, kKernel = 3, kConvLayers = 2;

inline Graph states(std::int64_t dim = 8) {
  Graph graph(4);
  graph.add_state("conv0", Shape{kRing, 16}, DType::f32, StateKind::conv);
  graph.add_state("k", Shape{2, kPageTokens, dim}, DType::f16, StateKind::kv_k);
  graph.add_state("v", Shape{2, kPageTokens, dim}, DType::f16, StateKind::kv_v);
  graph.add_state("conv1", Shape{kRing, 16}, DType::f32, StateKind::conv);
  return graph;
}

struct Fixture {
  std::unique_ptr<Backend> backend = reference_backend();
  std::unique_ptr<Cache> cache;
  explicit Fixture(std::int64_t capacity = 1000,
                   std::int64_t conv_layers = kConvLayers,
                   std::int64_t dim = 8) {
    auto made = Cache::create(states(dim), {{backend.get()}, {}}, {capacity, kKernel, conv_layers});
    REQUIRE(made.ok());
    cache = *std::move(made);
  }
  /// Runs positions up to `end` in steps of `chunk`, token id = position.
  void grow(std::int64_t end, std::int64_t chunk = 1000) {
    REQUIRE(cache->reserve(end).ok());
    for (std::int64_t at = cache->resume_from(); at < end; at = cache->resume_from()) {
      std::vector<TokenId> ids(static_cast<std::size_t>(std::min(chunk, end - at)));
      std::iota(ids.begin(), ids.end(), static_cast<TokenId>(at));
      cache->commit(at, ids);
    }
  }
  /// Fills all storage with bytes that depend on the place and on `seed`.
  void scribble(unsigned seed) {
    const StateTable table = cache->table();
    for (std::size_t s = 0; s < table.states.size(); ++s)
      for (std::size_t page = 0; page < table.states[s].host_pages.size(); ++page)
        for (std::size_t i = 0; i < page_bytes(s); ++i) {
          seed = seed * 1664525 + 1013904223;
          table.states[s].host_pages[page][i] = static_cast<std::byte>(seed >> 24);
        }
  }
  std::size_t page_bytes(std::size_t state) const {
    const StateInfo& info = cache->state_info(state);
    if (info.kind != StateKind::conv) return cache->unit_bytes(state);
    return quant::row_bytes(info.dtype, static_cast<std::size_t>(info.shape.elems()));
  }
};

/// Tiles beside convolutions; a ring of 160 rows, 128 of them seen by a token.
inline Fixture tiled() {
  Graph graph(4);
  graph.add_state("conv0", Shape{kRing, 16}, DType::f32, StateKind::conv);
  graph.add_state("k", Shape{1, kPageTokens, 64}, DType::f16, StateKind::kv_k,
                  quant::KvFormat::kt4);
  graph.add_state("v", Shape{1, kPageTokens, 64}, DType::f16, StateKind::kv_v,
                  quant::KvFormat::kt8);
  graph.add_state("window", Shape{2, 16 + 160, 64}, DType::f16, StateKind::kv_window);
  Fixture fixture;
  auto made = Cache::create(graph, {{fixture.backend.get()}, {}}, {1000, kKernel, kConvLayers});
  REQUIRE(made.ok());
  fixture.cache = *std::move(made);
  const CacheBytes bytes = Cache::bytes(graph, 1000);
  const std::size_t window = 2 * 176 * 64 * 2, ring = kRing * 16 * 4;
  CHECK(bytes.kv == 16 * (2176 + 4224) + window + Cache::kAnchors * (window + ring));
  CHECK(fixture.cache->held().kv == 2 * 176 * 64 * 2);
  return fixture;
}

}  // namespace runnel::tests
