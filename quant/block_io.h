// Small pieces every block codec shares: moving blocks in and out of bytes, nibble and 2-bit order.
// Stateless. Internal to quant/.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace runnel::quant {

/// The block at `src`, which needs no alignment. Multi-byte fields are little-endian.
template <class Block>
Block load_block(const std::byte* src) {
  Block block;
  std::memcpy(&block, src, sizeof(Block));
  return block;
}

/// Writes `block` at `dst`, which needs no alignment.
template <class Block>
void store_block(const Block& block, std::byte* dst) {
  std::memcpy(dst, &block, sizeof(Block));
}

/// The low eight bits of `value`.
constexpr std::uint8_t low_byte(int value) {
  return static_cast<std::uint8_t>(value & 0xFF);
}

/// Packs codes[2 * half] of four bits: byte j holds code j below and code j + half above.
constexpr void pack_nibbles(const std::uint8_t* codes, int half, std::uint8_t* bytes) {
  for (int j = 0; j < half; ++j) bytes[j] = low_byte((codes[j] & 15) | codes[j + half] << 4);
}

/// Undoes pack_nibbles.
constexpr void unpack_nibbles(const std::uint8_t* bytes, int half, std::uint8_t* codes) {
  for (int j = 0; j < half; ++j) {
    codes[j] = bytes[j] & 15;
    codes[j + half] = bytes[j] >> 4;
  }
}

/// Packs bit 4 of codes[32] into a little-endian 32-bit word, code n at bit n.
constexpr void pack_fifth_bits(const std::uint8_t* codes, std::uint8_t* bytes) {
  for (int j = 0; j < 4; ++j) {
    int bits = 0;
    for (int k = 0; k < 8; ++k) bits |= (codes[8 * j + k] >> 4 & 1) << k;
    bytes[j] = low_byte(bits);
  }
}

/// Adds the bits that pack_fifth_bits stored to codes[32] below 16.
constexpr void unpack_fifth_bits(const std::uint8_t* bytes, std::uint8_t* codes) {
  for (int n = 0; n < 32; ++n) codes[n] = low_byte(codes[n] | (bytes[n / 8] >> (n % 8) & 1) << 4);
}

/// Packs the low two bits of codes[256] into bytes[64]: each half of 128 codes takes 32 bytes, byte
/// j of a half holds codes j, j + 32, j + 64, j + 96 from its lowest bits up.
constexpr void pack_pairs(const std::uint8_t* codes, std::uint8_t* bytes) {
  for (int half = 0; half < 2; ++half, codes += 128, bytes += 32)
    for (int j = 0; j < 32; ++j)
      bytes[j] = low_byte((codes[j] & 3) | (codes[j + 32] & 3) << 2 | (codes[j + 64] & 3) << 4 |
                          (codes[j + 96] & 3) << 6);
}

/// Undoes pack_pairs.
constexpr void unpack_pairs(const std::uint8_t* bytes, std::uint8_t* codes) {
  for (int half = 0; half < 2; ++half, codes += 128, bytes += 32)
    for (int r = 0; r < 128; ++r) codes[r] = (bytes[r % 32] >> (2 * (r / 32))) & 3;
}

}  // namespace runnel::quant
