// Tile formats of the KV cache: what they lose, where their bytes are, hostile vectors.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>

#include "quant/hadamard.h"
#include "quant/half.h"
#include "quant/kv_codecs.h"
#include "quant/kv_tile.h"
#include "tests/unit/quant/rows.h"

namespace runnel::quant {
namespace {

constexpr std::size_t kTile = kKvTileTokens * kKvChannels;

struct Tile {
  Bytes codes;
  std::array<std::uint16_t, kKvTileTokens> scales{};
};

std::vector<KvFormat> tiled_formats() {
  std::vector<KvFormat> formats;
  for (const KvFormatInfo& row : kKvFormats)
    if (row.bits > 0) formats.push_back(row.format);
  return formats;
}

Tile encode_tile(KvFormat format, KvRole role, const float* x) {
  Tile tile{Bytes(kv_tile_bytes(format), std::byte{0xEE}), {}};
  kv_codec(format).encode_tile(role, x, tile.codes.data(), tile.scales.data());
  return tile;
}

Row decode_tile(KvFormat format, KvRole role, const Tile& tile) {
  Row x(kTile);
  kv_codec(format).decode_tile(role, tile.codes.data(), tile.scales.data(), x.data());
  return x;
}

/// Squared error over squared size of `row` (whole tiles) after encode and decode.
double lost(KvFormat format, const Row& row, KvRole role = KvRole::k) {
  Row back;
  for (std::size_t at = 0; at < row.size(); at += kTile) {
    const Row tile = decode_tile(format, role, encode_tile(format, role, row.data() + at));
    back.insert(back.end(), tile.begin(), tile.end());
  }
  const double error = relative_error(row, back);
  return error * error;
}

/// Every vector transformed as keys are.
Row transformed(Row row) {
  for (std::size_t at = 0; at < row.size(); at += kKvChannels)
    hadamard_64(row.data() + at, hadamard_signs(0, 0), Direction::forward);
  return row;
}

}  // namespace

TEST_CASE("KvCodec, loses no more of Gaussian vectors than its bound, which is tight") {
  const Row row = gaussian_row(64 * kTile, 0.7f);
  for (const KvFormat format : tiled_formats())
    for (const KvRole role : {KvRole::k, KvRole::v}) {
      CAPTURE(info(format).name);
      CHECK(lost(format, row, role) <= static_cast<double>(info(format).error_bound));
      CHECK(lost(format, row, role) >= 0.85 * static_cast<double>(info(format).error_bound));
      CHECK(lost(format, transformed(row), role) <= static_cast<double>(info(format).error_bound));
    }
}

TEST_CASE("KvCodec, transformed vectors with one large value or an offset are stored well") {
  Row spikes(kTile, 0.0f), offset = gaussian_row(16 * kTile, 1.0f, 7);
  for (std::size_t t = 0; t < kKvTileTokens; ++t) spikes[t * kKvChannels + (5 * t) % 64] = 3.0f;
  for (float& value : offset) value += 4.0f;
  struct Limits {
    KvFormat format;
    double spike, offset;
  };
  const Limits limits[] = {{KvFormat::kt8, 1e-4, 1e-4},
                           {KvFormat::kt4, 5e-3, 8e-3},
                           {KvFormat::kt3, 5e-3, 3.2e-2},
                           {KvFormat::kt2, 5e-3, 1.2e-1}};
  for (const Limits& row : limits) {
    CAPTURE(info(row.format).name);
    CHECK(lost(row.format, transformed(spikes)) <= row.spike);
    CHECK(lost(row.format, transformed(offset)) <= row.offset);
  }
}

TEST_CASE("KvCodec, zeros stay zeros, and nothing becomes NaN") {
  Row bad(kTile, 0.0f);
  bad[0] = std::numeric_limits<float>::quiet_NaN();
  bad[64] = std::numeric_limits<float>::infinity();
  bad[65] = 1.0f;
  bad[128] = -std::numeric_limits<float>::infinity();
  bad[192] = 1e-12f;
  bad[256] = 65504.0f;
  for (const KvFormat format : tiled_formats())
    for (const KvRole role : {KvRole::k, KvRole::v}) {
      CAPTURE(info(format).name);
      const Row zeros(kTile, 0.0f);
      CHECK(decode_tile(format, role, encode_tile(format, role, zeros.data())) == zeros);
      for (const float value : decode_tile(format, role, encode_tile(format, role, bad.data())))
        CHECK(std::isfinite(value));
    }
}

TEST_CASE("KvCodec, the role changes the place of a code, not its value") {
  const Row row = gaussian_row(kTile, 1.0f, 3);
  for (const KvFormat format : tiled_formats()) {
    const Tile k = encode_tile(format, KvRole::k, row.data());
    const Tile v = encode_tile(format, KvRole::v, row.data());
    CHECK(k.scales == v.scales);
    CHECK(k.codes != v.codes);
    CHECK(decode_tile(format, KvRole::k, k) == decode_tile(format, KvRole::v, v));
  }
}

TEST_CASE("KvCodec, codes lie where the layout says") {
  // Token 5, channel 22 alone is not zero, or the largest of all.
  Row row(kTile, 0.0f);
  row[5 * kKvChannels + 22] = 2.0f;
  const Tile kt8 = encode_tile(KvFormat::kt8, KvRole::k, row.data());
  CHECK(kt8.codes[64 * 5 + 4 * 5 + 2] == std::byte{127});
  CHECK(f16_to_f32(kt8.scales[5]) == doctest::Approx(2.0 / 127).epsilon(1e-3));
  const Tile kt8v = encode_tile(KvFormat::kt8, KvRole::v, row.data());
  CHECK(kt8v.codes[64 * (4 * 1 + 1) + 4 * 6 + 1] == std::byte{127});
  const Tile kt4 = encode_tile(KvFormat::kt4, KvRole::k, row.data());
  CHECK((kt4.codes[64 * 2 + 4 * 5 + 2] & std::byte{0xF0}) == std::byte{0xF0});  // vector 5: high
  const Tile kt2 = encode_tile(KvFormat::kt2, KvRole::k, row.data());
  CHECK((kt2.codes[64 * 1 + 4 * 5 + 2] & std::byte{0x0C}) == std::byte{0x0C});  // vector 4 + 1
  const Tile kt3 = encode_tile(KvFormat::kt3, KvRole::k, row.data());
  CHECK((kt3.codes[64 * 1 + 4 * 5 + 2] & std::byte{0x0C}) == std::byte{0x0C});
  CHECK((kt3.codes[256 + 64 * 0 + 4 * 5 + 2] & std::byte{0x20}) == std::byte{0x20});
}

TEST_CASE("KvFormat, sizes of tiles and blocks") {
  CHECK(kv_tile_bytes(KvFormat::kt8) == 1024);
  CHECK(kv_tile_bytes(KvFormat::kt4) == 512);
  CHECK(kv_tile_bytes(KvFormat::kt3) == 384);
  CHECK(kv_tile_bytes(KvFormat::kt2) == 256);
  for (const KvFormat format : tiled_formats()) CHECK(kv_block_bytes(format) % 64 == 0);
  CHECK(kv_block_bytes(KvFormat::kt4) * 8.0 / (64 * 64) == 4.25);
}

TEST_CASE("KvPolicy, presets and pairs") {
  REQUIRE(parse_kv_policy("kv4"));
  CHECK(parse_kv_policy("kv4")->layer(0, 6) == KvPair{KvFormat::kt8, KvFormat::kt4});
  CHECK(parse_kv_policy("kv4")->layer(1, 6) == KvPair{KvFormat::kt4, KvFormat::kt4});
  CHECK(parse_kv_policy("kv4")->layer(5, 6) == KvPair{KvFormat::kt8, KvFormat::kt4});
  CHECK(parse_kv_policy("k8v2")->layer(0, 6) == KvPair{KvFormat::kt8, KvFormat::kt2});
  CHECK(parse_kv_policy("f32") == plain_kv(DType::f32));
  CHECK_FALSE(parse_kv_policy("f16")->tiled());
  for (const char* bad : {"", "kv5", "k8", "k8v5", "k1v1", "kv44", "K8V4", "k8v4 "})
    CHECK_FALSE(parse_kv_policy(bad));
}

TEST_CASE("kv_sealed_before, tiles leave the newest 128 tokens as a whole") {
  CHECK(kv_sealed_before(0, 128) == 0);
  CHECK(kv_sealed_before(142, 128) == 0);   // 143 tokens
  CHECK(kv_sealed_before(143, 128) == 16);  // 144 tokens: 16 of them are older than the newest 128
  CHECK(kv_sealed_before(144, 128) == 16);
  CHECK(kv_sealed_before(158, 128) == 16);
  CHECK(kv_sealed_before(159, 128) == 32);
  CHECK(kv_sealed_before(14, 0) == 0);
  CHECK(kv_sealed_before(15, 0) == 16);
}

TEST_CASE("hadamard_64, is orthogonal, inverts, and spreads a spike") {
  const Row row = gaussian_row(128, 1.0f, 11);
  Row a(row.begin(), row.begin() + 64), b(row.begin() + 64, row.end());
  const auto dot = [](const Row& x, const Row& y) {
    double total = 0;
    for (std::size_t i = 0; i < x.size(); ++i) total += static_cast<double>(x[i]) * y[i];
    return total;
  };
  const double before = dot(a, b);
  const Row kept = a;
  const std::uint64_t signs = hadamard_signs(3, 1);
  hadamard_64(a.data(), signs, Direction::forward);
  hadamard_64(b.data(), signs, Direction::forward);
  CHECK(dot(a, b) == doctest::Approx(before).epsilon(1e-5));
  hadamard_64(a.data(), signs, Direction::inverse);
  for (std::size_t i = 0; i < 64; ++i) CHECK(a[i] == doctest::Approx(kept[i]).epsilon(1e-5));
  Row spike(64, 0.0f);
  spike[9] = 8.0f;
  hadamard_64(spike.data(), signs, Direction::forward);
  for (const float value : spike) CHECK(std::fabs(value) == 1.0f);
  CHECK(hadamard_signs(0, 0) != hadamard_signs(0, 1));
  CHECK(hadamard_signs(0, 0) != hadamard_signs(1, 0));
}

}  // namespace runnel::quant
