// Kernels of rows, called directly at every level: their registers take many values together, which
// no result may show.
#include <cmath>
#include <limits>

#include "quant/half.h"
#include "tests/unit/cpu/rig.h"

using namespace runnel;            // NOLINT: a test
using namespace runnel::cpu_test;  // NOLINT: a test

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Groups of 32 of every kind: Gaussian, tiny (down to where 1 / scale overflows), zero, huge, and
/// with NaN or infinities among them.
Floats hard_row(std::int64_t k) {
  Floats x = gaussian(k, 1);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t group = i / 32;
    if (group % 9 == 1) x[i] *= 1e-38f;
    if (group % 9 == 2) x[i] = 0.0f;
    if (group % 9 == 3) x[i] *= 1e37f;
    if (group % 9 == 4 && i % 5 == 0) x[i] = kNan;
    if (group % 9 == 5 && i % 7 == 0) x[i] = i % 2 == 0 ? kInfinity : -kInfinity;
    if (group % 9 == 6) x[i] *= 1e-42f;
    if (group % 9 == 7) x[i] = kNan;
  }
  return x;
}

/// What the comment of cpu::Chunk says, of one group of 32. NaN and what lies below become -127.
void check_group(const float* x, const cpu::Chunk& chunk, int g) {
  float most = 0;
  for (int i = 0; i < 32; ++i) most = std::abs(x[i]) > most ? std::abs(x[i]) : most;
  const float scale = most / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
  CHECK(chunk.scale[g] == scale);
  std::int32_t sums[2] = {};
  for (int i = 0; i < 32; ++i) {
    const float value = x[i] * inverse;
    const float whole = value >= -127.0f ? std::nearbyint(std::min(value, 127.0f)) : -127.0f;
    CHECK(static_cast<float>(chunk.q[32 * g + i]) == whole);
    sums[i / 16] += chunk.q[32 * g + i];
  }
  const auto same = [](float a, float b) { return a == b || (a != a && b != b); };
  for (int h = 0; h < 2; ++h) {
    CHECK(chunk.half_sum[2 * g + h] == sums[h]);
    CHECK(same(chunk.scaled_half_sum[2 * g + h], scale * static_cast<float>(sums[h])));
  }
  CHECK(chunk.sum[g] == sums[0] + sums[1]);
  CHECK(same(chunk.scaled_sum[g], scale * static_cast<float>(sums[0] + sums[1])));
}

template <class Check>
void at_every_level(const Check& check) {
  for (const cpu::IsaLevel& level : cpu::kIsaLevels) {
    if (!cpu::can_run(level.isa)) continue;
    CAPTURE(level.name);
    check(*cpu::kernels_for(level));
  }
}

}  // namespace

TEST_CASE("Quantised activations are what they are defined to be, at all levels and lengths") {
  at_every_level([](const cpu::Kernels& kernels) {
    for (const std::int64_t k : {32, 96, 256, 288, 480, 512, 544, 1120, 2048}) {
      CAPTURE(k);
      const Floats x = hard_row(k);
      const auto n_chunks = static_cast<std::size_t>((k + 511) / 512);
      std::vector<cpu::Chunk> chunks(n_chunks);
      std::memset(chunks.data(), 0x55, n_chunks * sizeof(cpu::Chunk));
      kernels.quantize(x.data(), k, chunks.data());
      const float zeros[32] = {};
      for (int g = 0; g < static_cast<int>(16 * n_chunks); ++g)
        check_group(32 * g < k ? x.data() + 32 * g : zeros,
                    chunks[static_cast<std::size_t>(g / 16)], g % 16);
    }
  });
}

TEST_CASE("Values are rounded to the nearest bf16 at all levels") {
  at_every_level([](const cpu::Kernels& kernels) {
    Floats x = hard_row(321);
    x.insert(x.end(), {3.39e38f, -3.4e38f, 1.00390625f, 1.01171875f});  // too large, ties
    std::vector<std::uint16_t> rounded(x.size());
    kernels.to_bf16(x.data(), rounded.data(), static_cast<std::int64_t>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(rounded[i] == quant::f32_to_bf16(x[i]));
  });
}

TEST_CASE("A value's swiglu does not depend on the values around it") {
  at_every_level([](const cpu::Kernels& kernels) {
    constexpr std::size_t kMost = 150;
    Floats gate = gaussian(kMost, 1);
    const Floats up = gaussian(kMost, 2);
    const float special[] = {-200.0f, -88.0f, -87.0f, 87.0f, 200.0f, kInfinity, -kInfinity, 0.0f};
    for (std::size_t i = 0; i < kMost; i += 3) gate[i] = special[i / 3 % std::size(special)];
    Floats alone(kMost);
    for (std::size_t i = 0; i < kMost; ++i) kernels.swiglu(&alone[i], &gate[i], &up[i], 1);
    for (std::size_t n = 1; n <= kMost; n += n < 20 ? 1 : 13) {
      CAPTURE(n);
      Floats together = gate;  // in place
      kernels.swiglu(together.data(), together.data(), up.data(), static_cast<std::int64_t>(n));
      CHECK(std::memcmp(together.data(), alone.data(), n * sizeof(float)) == 0);
      CHECK(std::memcmp(together.data() + n, gate.data() + n, (kMost - n) * sizeof(float)) == 0);
    }
    for (std::size_t i = 0; i < kMost; ++i) {
      const double x = gate[i], wanted = x / (1 + std::exp(-x)) * static_cast<double>(up[i]);
      if (std::isfinite(x)) CHECK(std::abs(alone[i] - wanted) <= 1e-6 * std::abs(wanted) + 1e-30);
    }
  });
}
