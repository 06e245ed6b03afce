#include "quant/kv_sparse.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "quant/half.h"
#include "quant/kv_codecs.h"

namespace runnel::quant {
namespace {

/// Pages by descending bound, the earlier first among equals.
std::vector<std::int32_t> best_by_sorting(const std::vector<float>& bounds, std::size_t most) {
  std::vector<std::int32_t> order(bounds.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater{}, [&](std::int32_t page) {
    return bounds[static_cast<std::size_t>(page)];
  });
  order.resize(std::min(most, order.size()));
  return order;
}

float half_at(const std::vector<std::byte>& bytes, std::int64_t i) {
  return f16_to_f32(reinterpret_cast<const std::uint16_t*>(bytes.data())[i]);
}

}  // namespace

TEST_CASE("BestPages keeps the largest bounds, and the earlier of equal ones") {
  std::mt19937 random(1);
  for (const std::size_t n : {0u, 1u, 5u, 200u})
    for (const std::int32_t most : {1, 2, 7, 300}) {
      std::vector<float> bounds(n);
      for (float& bound : bounds) bound = static_cast<float>(random() % 40) - 20;
      std::vector<float> held(static_cast<std::size_t>(most));
      std::vector<std::int32_t> pages(static_cast<std::size_t>(most));
      BestPages best{held.data(), pages.data(), most};
      for (std::size_t i = 0; i < n; ++i) best.offer(bounds[i], static_cast<std::int32_t>(i));
      pages.resize(static_cast<std::size_t>(best.n));
      CHECK(pages == best_by_sorting(bounds, static_cast<std::size_t>(most)));
    }
}

TEST_CASE("BestPages: a bound that is no number never takes a place from one that is") {
  float held[2];
  std::int32_t pages[2];
  BestPages best{held, pages, 2};
  best.offer(1.0f, 0);
  best.offer(2.0f, 1);
  best.offer(std::nanf(""), 2);
  CHECK(pages[0] == 1);
  CHECK(pages[1] == 0);
}

TEST_CASE("unite_pages sorts and drops what is there twice") {
  std::vector<std::int32_t> pages{9, 3, 9, 1, 3};
  REQUIRE(unite_pages(pages) == 3);
  pages.resize(3);
  CHECK(pages == std::vector<std::int32_t>{1, 3, 9});
  CHECK(unite_pages({}) == 0);
}

TEST_CASE("kv_local_page: what is newer is complete, or read anyway") {
  for (std::int64_t place = 0; place < 3000; ++place)
    for (const std::int64_t recent : {0, 128}) {
      const std::int64_t local = kv_local_page(place, recent);
      const std::int64_t sealed = kv_sealed_before(place, recent);
      CHECK(local * kKvBlockTokens <= std::max<std::int64_t>(0, sealed - kKvLocalTokens));
      CHECK((local + 1) * kKvBlockTokens > sealed - kKvLocalTokens);
    }
}

TEST_CASE("A summary is the mean of a page's keys and the distance of the furthest from it") {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (const KvFormat format : {KvFormat::kt8, KvFormat::kt4, KvFormat::kt2})
    for (const std::int64_t head_dim : {64, 128}) {
      const std::size_t parts = static_cast<std::size_t>(head_dim) / kKvChannels;
      std::vector<std::byte> blocks(parts * kv_block_bytes(format));
      std::vector<double> keys(static_cast<std::size_t>(64 * head_dim));  // as decoded
      for (std::size_t part = 0; part < parts; ++part)
        for (int t = 0; t < kKvBlockTiles; ++t) {
          float tile[kKvTileTokens * kKvChannels];
          for (float& x : tile) x = normal(random) + 1;
          std::byte* block = blocks.data() + part * kv_block_bytes(format);
          std::byte* codes = kv_tile_codes(format, block, t);
          std::uint16_t* scales = kv_tile_scales(format, block, t);
          kv_codec(format).encode_tile(KvRole::k, tile, codes, scales);
          kv_codec(format).decode_tile(KvRole::k, codes, scales, tile);
          for (std::size_t i = 0; i < kKvTileTokens * kKvChannels; ++i)
            keys[(static_cast<std::size_t>(t) * kKvTileTokens + i / kKvChannels) *
                     static_cast<std::size_t>(head_dim) +
                 part * kKvChannels + i % kKvChannels] = static_cast<double>(tile[i]);
        }
      std::vector<std::byte> summary(static_cast<std::size_t>(kv_summary_values(head_dim)) *
                                     sizeof(std::uint16_t));
      kv_summarise(format, blocks.data(), head_dim, summary.data());
      double radius = 0;
      for (std::int64_t t = 0; t < 64; ++t) {
        double square = 0;
        for (std::int64_t c = 0; c < head_dim; ++c) {
          double mean = 0;
          for (std::int64_t i = 0; i < 64; ++i)
            mean += keys[static_cast<std::size_t>(i * head_dim + c)] / 64;
          if (t == 0) CHECK(std::abs(static_cast<double>(half_at(summary, c)) - mean) < 2e-3);
          square += std::pow(keys[static_cast<std::size_t>(t * head_dim + c)] - mean, 2);
        }
        radius = std::max(radius, std::sqrt(square));
      }
      CHECK(std::abs(static_cast<double>(half_at(summary, head_dim)) / radius - 1) < 1e-3);
      CHECK(half_at(summary, head_dim + 1) == 0.0f);
    }
}

}  // namespace runnel::quant
