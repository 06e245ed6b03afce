// Tile formats of the KV cache: codes of a tile -> 16 vectors of 64 levels as bytes. A format adds
// `offset` (0 or 128) to its levels, as the dot product at hand wants them.
// SOURCE: quant/kv_tile.h and quant/kv_kt8.cc ... kv_kt2.cc.
#pragma once
#include "backends/cpu/isa/bytes.h"
#include "backends/cpu/isa/tile_task.h"

namespace runnel::cpu::RUNNEL_ISA {

static inline B xor_bytes(B a, B b) {
#if RUNNEL_SIMD_BITS == 512
  return _mm512_xor_si512(a, b);
#elif RUNNEL_SIMD_BITS == 256
  return _mm256_xor_si256(a, b);
#elif RUNNEL_SIMD_BITS == 128
  return veorq_u8(a, b);
#else
  return a ^ b;
#endif
}

constexpr int64_t kVector = 64;  // bytes
constexpr int64_t kStep = static_cast<int64_t>(sizeof(B));

/// Levels of codes 0 .. 2n - 1, repeated to fill the table.
template <int n>
struct LevelTable {
  uint8_t byte[16];
  constexpr inline explicit LevelTable(const int8_t (&level)[n]) : byte{} {
    for (int i = 0; i < 16; ++i) {
      const int code = i % (2 * n);
      const int value = code >= n ? level[code - n] : -level[n - 1 - code];
      byte[i] = static_cast<uint8_t>(value);
    }
  }
  /// Adding 128 to a byte flips its highest bit.
  inline B load(uint8_t offset) const { return xor_bytes(load_table(byte), all_bytes(offset)); }
};

struct KT8 {
  static constexpr Tiles kFormat = Tiles::kt8;
  static constexpr int64_t kBytes = 1024;
  static inline void unpack(const uint8_t* codes, uint8_t offset, uint8_t* levels) {
    const B flip = all_bytes(offset);  // adding 128 to a byte flips its highest bit
    for (int64_t i = 0; i < kKvCodes; i += kStep)
      store_bytes(levels + i, xor_bytes(load_bytes(codes + i), flip));
  }
};

struct KT4 {
  static constexpr Tiles kFormat = Tiles::kt4;
  static constexpr int64_t kBytes = 512;
  static inline void unpack(const uint8_t* codes, uint8_t offset, uint8_t* levels) {
    static constexpr LevelTable<8> kTable({6, 18, 31, 44, 58, 75, 96, 127});
    const B level = kTable.load(offset), low = all_bytes(15);
    for (int64_t chunk = 0; chunk < 8; ++chunk)
      for (int64_t i = 0; i < kVector; i += kStep) {
        const B code = load_bytes(codes + chunk * kVector + i);
        uint8_t* to = levels + 2 * chunk * kVector + i;
        store_bytes(to, look_up(level, and_bytes(code, low)));
        store_bytes(to + kVector, look_up(level, and_bytes(shift_right<4>(code), low)));
      }
  }
};

struct KT3 {
  static constexpr Tiles kFormat = Tiles::kt3;
  static constexpr int64_t kBytes = 384;
  /// Vector 8 * high_chunk + p: two bits at 2 (p % 4) of `low`, one at p of `high`.
  template <int p>
  static inline B code(B low, B high) {
    const B two = and_bytes(p % 4 == 0 ? low : shift_right<p % 4 * 2>(low), all_bytes(3));
    B one = high;
    if constexpr (p > 2) one = shift_right<p - 2>(high);
    if constexpr (p < 2) one = shift_left<2 - p>(high);
    return or_bytes(two, and_bytes(one, all_bytes(4)));
  }
  static inline void unpack(const uint8_t* codes, uint8_t offset, uint8_t* levels) {
    static constexpr LevelTable<4> kTable({14, 45, 79, 127});
    const B level = kTable.load(offset);
    for (int64_t chunk = 0; chunk < 2; ++chunk)
      for (int64_t i = 0; i < kVector; i += kStep) {
        const B high = load_bytes(codes + 256 + chunk * kVector + i);
        const B low0 = load_bytes(codes + 2 * chunk * kVector + i);
        const B low1 = load_bytes(codes + (2 * chunk + 1) * kVector + i);
        uint8_t* to = levels + 8 * chunk * kVector + i;
        store_bytes(to, look_up(level, code<0>(low0, high)));
        store_bytes(to + kVector, look_up(level, code<1>(low0, high)));
        store_bytes(to + 2 * kVector, look_up(level, code<2>(low0, high)));
        store_bytes(to + 3 * kVector, look_up(level, code<3>(low0, high)));
        store_bytes(to + 4 * kVector, look_up(level, code<4>(low1, high)));
        store_bytes(to + 5 * kVector, look_up(level, code<5>(low1, high)));
        store_bytes(to + 6 * kVector, look_up(level, code<6>(low1, high)));
        store_bytes(to + 7 * kVector, look_up(level, code<7>(low1, high)));
      }
  }
};

struct KT2 {
  static constexpr Tiles kFormat = Tiles::kt2;
  static constexpr int64_t kBytes = 256;
  static inline void unpack(const uint8_t* codes, uint8_t offset, uint8_t* levels) {
    static constexpr LevelTable<2> kTable({38, 127});
    const B level = kTable.load(offset), low = all_bytes(3);
    for (int64_t chunk = 0; chunk < 4; ++chunk)
      for (int64_t i = 0; i < kVector; i += kStep) {
        const B code = load_bytes(codes + chunk * kVector + i);
        uint8_t* to = levels + 4 * chunk * kVector + i;
        store_bytes(to, look_up(level, and_bytes(code, low)));
        store_bytes(to + kVector, look_up(level, and_bytes(shift_right<2>(code), low)));
        store_bytes(to + 2 * kVector, look_up(level, and_bytes(shift_right<4>(code), low)));
        store_bytes(to + 3 * kVector, look_up(level, and_bytes(shift_right<6>(code), low)));
      }
  }
};

/// Unpacks the four tiles of a block to kBlockTiles * kKvCodes levels.
inline void unpack_block(Tiles format, const uint8_t* block, uint8_t offset, uint8_t* levels) {
  const auto all = [&]<class Format>(Format) {
    for (int64_t tile = 0; tile < kBlockTiles; ++tile)
      Format::unpack(block + tile * Format::kBytes, offset, levels + tile * kKvCodes);
  };
  if (format == Tiles::kt8) all(KT8{});
  if (format == Tiles::kt4) all(KT4{});
  if (format == Tiles::kt3) all(KT3{});
  if (format == Tiles::kt2) all(KT2{});
}

}  // namespace runnel::cpu::RUNNEL_ISA
