// Encoding of a tile of 16 tokens x 64 channels of keys or values: the same bits as quant/kv_*.cc,
// which say what is computed. Values of a vector lie in registers; six spreads of the levels are
// tried, each with one comparison per value and level.
#include "backends/cpu/formats/kv_tiles.h"
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

constexpr int kRegisters = kKvChannels / kLanes;
constexpr float kLargest = 65504.0f;
constexpr float kSpreads[] = {0.76f, 0.86f, 0.96f, 1.06f, 1.18f, 1.34f};

struct Levels {
  int n;
  float unit;
  float level[8];
};
constexpr Levels kLevels4{8, 2.733f, {6, 18, 31, 44, 58, 75, 96, 127}};
constexpr Levels kLevels3{4, 2.1519f, {14, 45, 79, 127}};
constexpr Levels kLevels2{2, 1.5104f, {38, 127}};

// Sum of the values: 16 chains, then by halves (sum() goes on with the lanes).
inline float sum_of(const F* v) {
  F chains[kRegisters];
  constexpr int kChainRegisters = 16 / kLanes;
  for (int i = 0; i < kRegisters; ++i)
    chains[i % kChainRegisters] =
        i < kChainRegisters ? add(zero(), v[i]) : add(chains[i % kChainRegisters], v[i]);
  for (int width = kChainRegisters / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) chains[i] = add(chains[i], chains[i + width]);
  return sum(chains[0]);
}

inline uint16_t half_bits(float value) {
  uint16_t half[kLanes];
  store_f16(half, set1(value));
  return half[0];
}

// Codes [64] of one vector, channel by channel; returns the scale.
template <int n>
uint16_t encode_levels(const float* x, const Levels& levels, uint8_t* codes) {
  F magnitude[kRegisters], products[kRegisters], squares[kRegisters];
  for (int i = 0; i < kRegisters; ++i) {
    magnitude[i] = min(abs(load(x + i * kLanes)), set1(kLargest));
    squares[i] = mul(magnitude[i], magnitude[i]);
  }
  const float rms = sqrtf(sum_of(squares) / static_cast<float>(kKvChannels));
  float most = -1.0f, best_products = 0.0f, best_squares = 1.0f, best_step = 0.0f;
  for (const float spread : kSpreads) {
    if (!(rms > 0.0f)) break;
    const float step = 127.0f / (levels.unit * (rms * spread));
    for (int i = 0; i < kRegisters; ++i) {
      const F at = mul(magnitude[i], set1(step));
      F level = set1(levels.level[0]);
      for (int l = 0; l + 1 < n; ++l)
        level = add(level, zero_where_less(at, set1(0.5f * (levels.level[l] + levels.level[l + 1])),
                                           set1(levels.level[l + 1] - levels.level[l])));
      products[i] = mul(level, magnitude[i]);
      squares[i] = mul(level, level);
    }
    const float product = sum_of(products), square = sum_of(squares);
    const float gain = product * product / square;
    if (!(gain > most)) continue;
    most = gain;
    best_products = product;
    best_squares = square;
    best_step = step;
  }
  for (int i = 0; i < kRegisters; ++i) {
    const F at = mul(magnitude[i], set1(best_step)), one = set1(1.0f);
    F index = zero();
    for (int l = 0; l + 1 < n; ++l)
      index = add(index,
                  zero_where_less(at, set1(0.5f * (levels.level[l] + levels.level[l + 1])), one));
    const F below = sub(set1(static_cast<float>(n - 1)), index);
    const F code =
        add(below, zero_where_less(load(x + i * kLanes), zero(), add(add(index, index), one)));
    float whole[kLanes];
    store(whole, code);
    for (int j = 0; j < kLanes; ++j) codes[i * kLanes + j] = static_cast<uint8_t>(whole[j]);
  }
  const float scale = best_products / best_squares;
  return half_bits(scale < kLargest ? scale : kLargest);
}

uint16_t encode_bytes(const float* x, uint8_t* codes) {
  F value[kRegisters], most = zero();
  for (int i = 0; i < kRegisters; ++i) {
    value[i] = min(max(load(x + i * kLanes), set1(-kLargest)), set1(kLargest));
    most = max(abs(value[i]), most);
  }
  const uint16_t half = half_bits(largest(most) / 127.0f);
  const float scale = f16_value(reinterpret_cast<const uint8_t*>(&half));
  const F inverse = set1(scale > 0.0f ? 1.0f / scale : 0.0f);
  for (int i = 0; i < kRegisters; ++i) {
    // Bounds before rounding: whole numbers, so the order does not matter.
    const F code = min(max(mul(value[i], inverse), set1(-127.0f)), set1(127.0f));
    float whole[kLanes];
    store(whole, round(code));
    for (int j = 0; j < kLanes; ++j)
      codes[i * kLanes + j] = static_cast<uint8_t>(static_cast<int8_t>(whole[j]));
  }
  return half;
}

// Packs `bits` low bits of vectors from bit `shift` on: 8 / bits vectors in one.
template <int bits, int shift>
void pack_plane(const uint8_t* codes, uint8_t* to) {
  constexpr int per = 8 / bits, mask = (1 << bits) - 1;
  for (int chunk = 0; chunk < 16 / per; ++chunk)
    for (int b = 0; b < kVector; ++b) {
      int byte = 0;
      for (int p = 0; p < per; ++p)
        byte |= (codes[(chunk * per + p) * kVector + b] >> shift & mask) << (p * bits);
      to[chunk * kVector + b] = static_cast<uint8_t>(byte);
    }
}

}  // namespace

void seal(const SealTask& task) {
  uint8_t placed[kKvCodes];
  for (int64_t t = 0; t < kKvTokens; ++t) {
    uint8_t codes[kKvChannels];
    const float* x = task.x + t * kKvChannels;
    uint16_t scale = 0;
    if (task.format == Tiles::kt8) scale = encode_bytes(x, codes);
    if (task.format == Tiles::kt4) scale = encode_levels<8>(x, kLevels4, codes);
    if (task.format == Tiles::kt3) scale = encode_levels<4>(x, kLevels3, codes);
    if (task.format == Tiles::kt2) scale = encode_levels<2>(x, kLevels2, codes);
    memcpy(task.scales + 2 * t, &scale, sizeof scale);
    if (task.is_keys) {
      for (int64_t v = 0; v < 16; ++v) memcpy(placed + kVector * v + 4 * t, codes + 4 * v, 4);
    } else {
      for (int64_t i = 0; i < kKvChannels; ++i)
        placed[kVector * (i / 16 * 4 + t / 4) + i % 16 * 4 + t % 4] = codes[i];
    }
  }
  if (task.format == Tiles::kt8) memcpy(task.codes, placed, kKvCodes);
  if (task.format == Tiles::kt4) pack_plane<4, 0>(placed, task.codes);
  if (task.format == Tiles::kt3 || task.format == Tiles::kt2) pack_plane<2, 0>(placed, task.codes);
  if (task.format == Tiles::kt3) pack_plane<1, 2>(placed, task.codes + kKvCodes / 4);
}

}  // namespace runnel::cpu::RUNNEL_ISA
