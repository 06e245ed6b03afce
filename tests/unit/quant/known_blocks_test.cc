// Blocks written by hand, byte by byte, with the values worked out on paper: the specification in
// examples. f16 constants: 0x3C00 = 1, 0x4000 = 2, 0x3800 = 0.5, 0xB800 = -0.5, 0x3400 = 0.25.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "tests/unit/quant/rows.h"

namespace runnel::quant {
namespace {

// A block of `type`, all bytes zero, with a few set.
class Block {
 public:
  explicit Block(DType type) : type_(type), bytes_(info(type).block_bytes) {}
  Block& set(std::size_t index, int value) {
    bytes_.at(index) = static_cast<std::byte>(value);
    return *this;
  }
  Block& set_half(std::size_t index, int bits) {
    return set(index, bits & 255).set(index + 1, bits >> 8);
  }
  Block& fill(std::size_t first, std::size_t count, int value) {
    for (std::size_t i = first; i < first + count; ++i) set(i, value);
    return *this;
  }
  Row values() const { return decode(type_, bytes_); }

 private:
  DType type_;
  Bytes bytes_;
};

TEST_CASE("plain formats, DecodeLittleEndianValues") {
  CHECK(decode(DType::f32, {std::byte{0}, std::byte{0}, std::byte{0x80}, std::byte{0xBF}})[0] ==
        -1.0f);
  CHECK(decode(DType::f16, {std::byte{0x01}, std::byte{0x3C}})[0] == 1.0f + 0x1p-10f);
  CHECK(decode(DType::bf16, {std::byte{0x81}, std::byte{0xBF}})[0] == -1.0f - 0x1p-7f);
  CHECK(decode(DType::i32, {std::byte{0xFE}, std::byte{255}, std::byte{255}, std::byte{255}})[0] ==
        -2.0f);
}

TEST_CASE("q4_0, LowNibblesComeFirst") {
  const Row v = Block(DType::q4_0).set_half(0, 0x4000).set(2, 0xF0).set(17, 0x19).values();
  CHECK(v[0] == -16.0f);   // nibble 0
  CHECK(v[16] == 14.0f);   // nibble 15
  CHECK(v[15] == 2.0f);    // nibble 9
  CHECK(v[31] == -14.0f);  // nibble 1
  CHECK(v[1] == -16.0f);
}

TEST_CASE("q4_1, AddsTheOffset") {
  const Row v = Block(DType::q4_1)
                    .set_half(0, 0x3800)
                    .set_half(2, 0xB800)
                    .set(4, 0xF1)
                    .set(19, 0x2A)
                    .values();
  CHECK(v[0] == 0.0f);   // 1 * 0.5 - 0.5
  CHECK(v[16] == 7.0f);  // 15 * 0.5 - 0.5
  CHECK(v[15] == 4.5f);  // 10 * 0.5 - 0.5
  CHECK(v[31] == 0.5f);  // 2 * 0.5 - 0.5
  CHECK(v[1] == -0.5f);
}

TEST_CASE("q5_0, FifthBitsFollowTheElementNumber") {
  // qh bits 0, 9 and 31; nibble 3 for element 0, 5 for element 16, 7 for 31.
  const Row v = Block(DType::q5_0)
                    .set_half(0, 0x3C00)
                    .set(2, 0x01)
                    .set(3, 0x02)
                    .set(5, 0x80)
                    .set(6, 0x53)
                    .set(21, 0x70)
                    .values();
  CHECK(v[0] == 3.0f);     // 16 + 3 - 16
  CHECK(v[16] == -11.0f);  // 5 - 16
  CHECK(v[9] == 0.0f);     // 16 - 16
  CHECK(v[31] == 7.0f);    // 16 + 7 - 16
  CHECK(v[1] == -16.0f);
}

TEST_CASE("q5_1, FifthBitsAndOffset") {
  const Row v = Block(DType::q5_1)
                    .set_half(0, 0x4000)
                    .set_half(2, 0x3C00)
                    .set(4, 0x80)
                    .set(6, 0x01)
                    .set(8, 0x4F)
                    .values();
  CHECK(v[0] == 31.0f);   // 15 * 2 + 1
  CHECK(v[16] == 41.0f);  // (16 + 4) * 2 + 1: bit 16 is bit 0 of the third byte
  CHECK(v[7] == 33.0f);   // 16 * 2 + 1
  CHECK(v[1] == 1.0f);
}

TEST_CASE("q8_0, BytesAreSigned") {
  const Row v =
      Block(DType::q8_0).set_half(0, 0xB800).set(2, 0x80).set(3, 0x7F).set(33, 0xFF).values();
  CHECK(v[0] == 64.0f);   // -128 * -0.5
  CHECK(v[1] == -63.5f);  // 127 * -0.5
  CHECK(v[31] == 0.5f);
}

TEST_CASE("q2_k, PartsPairsAndMinimums") {
  Block block(DType::q2_k);
  block.set_half(80, 0x3800).set_half(82, 0x4000);  // d = 0.5, dmin = 2
  block.set(0, 0x1F).set(1, 0x02).set(8, 0x30).set(15, 0x0F);
  block.set(16, 0b11100100);            // half 0, r % 32 = 0: elements 0, 32, 64, 96 are 0, 1, 2, 3
  block.set(16 + 16, 0x03);             // element 16
  block.set(16 + 32 + 31, 0b11000000);  // half 1, r % 32 = 31: element 128 + 127
  const Row v = block.values();
  CHECK(v[0] == -2.0f);    // 0.5 * 15 * 0 - 2 * 1
  CHECK(v[16] == 3.0f);    // 0.5 * 2 * 3 - 0
  CHECK(v[32] == 0.0f);    // part 2 has scale 0
  CHECK(v[128] == -6.0f);  // part 8: minimum 3
  CHECK(v[255] == 22.5f);  // 0.5 * 15 * 3
}

TEST_CASE("q3_k, HighBitsAndSignedSixBitScales") {
  Block block(DType::q3_k);
  block.set_half(108, 0x3C00);
  // scales at 96: part 0 low nibble of [0], part 8 high nibble of [0]; high bits in [8 + j % 4].
  block.set(96, 0x5F).set(97, 0x01);
  block.set(96 + 8, 0b10'11'00'11);  // parts 0, 4, 8, 12: 3, 0, 3, 2
  block.set(0, 0b0001'0001);         // hmask[0]: elements 0 and 128 keep their value
  block.set(32, 0b00'00'00'10);      // element 0: 2; elements 32, 64, 96: 0
  const Row v = block.values();
  CHECK(v[0] == 62.0f);           // (15 + 48 - 32) * 2
  CHECK(v[1] == -124.0f);         // 31 * (0 - 4)
  CHECK(v[16] == (1 - 32) * -4);  // part 1: low 1, high 0
  CHECK(v[64] == -32 * -4);       // part 4: low 0, high 0
  CHECK(v[128] == 0.0f);          // part 8: 5 + 48 - 32 = 21, times 0
  CHECK(v[129] == 21 * -4);
  CHECK(v[192] == 0.0f);  // part 12: 0 + 32 - 32 = 0
}

void check_six_bit_scales(DType type, std::size_t codes_at) {
  Block block(type);
  block.set_half(0, 0x3C00).set_half(2, 0x3800);  // d = 1, dmin = 0.5
  // Pair 1: scale 63, minimum 2. Pair 5: scale 0b10'1001, minimum 0b01'0110.
  block.set(4 + 1, 63 | 0b10 << 6).set(4 + 5, 2 | 0b01 << 6).set(4 + 9, 0b1001 | 0b0110 << 4);
  block.set(codes_at, 0x21).set(codes_at + 64, 0x43);
  const Row v = block.values();
  CAPTURE(info(type).name);
  CHECK(v[0] == 0.0f);               // pair 0 is zero
  CHECK(v[32] == 63.0f * 2 - 1.0f);  // high nibble of the first byte
  CHECK(v[33] == -1.0f);
  CHECK(v[128] == 0.0f);               // pair 4 is zero
  CHECK(v[160] == 41.0f * 4 - 11.0f);  // pair 5, high nibble of byte 64
  CHECK(v[161] == -11.0f);
}

TEST_CASE("q4_k, SixBitScalesAndChunksOf64") {
  check_six_bit_scales(DType::q4_k, 16);
}

TEST_CASE("q5_k, SixBitScalesAndFifthBits") {
  check_six_bit_scales(DType::q5_k, 48);
  Block block(DType::q5_k);
  block.set_half(0, 0x3C00).fill(4, 4, 1).fill(12, 4, 1);  // all eight scales 1, minimums 0
  block.set(16 + 3, 0b1000'0010);                          // qh[3]: parts 1 and 7
  block.set(48 + 3, 0x50);
  const Row v = block.values();
  CHECK(v[3] == 0.0f);
  CHECK(v[35] == 21.0f);   // 5 + 16
  CHECK(v[227] == 16.0f);  // part 7
  CHECK(v[226] == 0.0f);
}

TEST_CASE("q6_k, NibblesPairsAndSignedScales") {
  Block block(DType::q6_k);
  block.set_half(208, 0x3800);
  block.set(192, 2).set(192 + 4, 0xFF).set(192 + 8, 0x80).set(192 + 15, 1);
  block.set(0, 0x4F);              // elements 0 (15) and 64 (4)
  block.set(128, 0b00'10'00'11);   // qh[0]: elements 0, 32, 64, 96 are 3, 0, 2, 0
  block.set(128 + 32 + 31, 0xC0);  // element 255: 3
  block.set(127, 0xA0);            // element 255: 10
  const Row v = block.values();
  CHECK(v[0] == 31.0f);      // 0.5 * 2 * (63 - 32)
  CHECK(v[64] == -2.0f);     // 0.5 * -1 * (36 - 32)
  CHECK(v[128] == 2048.0f);  // 0.5 * -128 * (0 - 32)
  CHECK(v[255] == 13.0f);    // 0.5 * 1 * (58 - 32)
  CHECK(v[16] == 0.0f);      // scale 0
}

TEST_CASE("iq4_nl, UsesItsLevels") {
  const int levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  Block block(DType::iq4_nl);
  block.set_half(0, 0x3800);
  for (int j = 0; j < 16; ++j) block.set(static_cast<std::size_t>(2 + j), j | (15 - j) << 4);
  const Row v = block.values();
  for (std::size_t j = 0; j < 16; ++j) {
    CHECK(v[j] == 0.5f * static_cast<float>(levels[j]));
    CHECK(v[16 + j] == 0.5f * static_cast<float>(levels[15 - j]));
  }
}

TEST_CASE("iq4_xs, SixBitScalesInTwoPlaces") {
  Block block(DType::iq4_xs);
  block.set_half(0, 0x3C00);
  block.set_half(2, 0b10'00'00'00'00'00'01'11);  // high bits: part 0: 3, part 1: 1, part 7: 2
  block.set(4, 0x9F).set(7, 0x10);               // low: part 0: 15, part 1: 9, part 7: 1
  block.set(8, 0xF8).set(8 + 16, 0x0A).set(8 + 127, 0xC0);
  const Row v = block.values();
  CHECK(v[0] == 31.0f);         // (63 - 32) * 1
  CHECK(v[16] == 31.0f * 113);  // high nibble: the second half of the part
  CHECK(v[32] == -7.0f * 25);   // 9 + 16 - 32
  CHECK(v[255] == 1.0f * 53);   // 1 + 32 - 32
  CHECK(v[64] == -32.0f * -127);
}

TEST_CASE("tq1_0, DigitsComeMostSignificantFirst") {
  Block block(DType::tq1_0);
  block.set_half(52, 0x4000);
  // 2,1,0,2,1 in base 3 = 196; 196 * 256 / 243 = 206.5, rounded up 207.
  block.set(5, 207).set(32 + 7, 207).set(48 + 3, 207);
  const Row v = block.values();
  const float digits[5] = {2, 0, -2, 2, 0};
  for (std::size_t k = 0; k < 5; ++k) {
    CHECK(v[32 * k + 5] == digits[k]);
    CHECK(v[160 + 16 * k + 7] == digits[k]);
    if (k < 4) CHECK(v[240 + 4 * k + 3] == digits[k]);
  }
  CHECK(v[0] == -2.0f);
}

TEST_CASE("tq2_0, TwoBitsMinusOne") {
  const Row v = Block(DType::tq2_0)
                    .set_half(64, 0x3400)
                    .set(1, 0b11'10'01'00)
                    .set(32 + 4, 0b00'10'00'00)
                    .values();
  CHECK(v[1] == -0.25f);
  CHECK(v[33] == 0.0f);
  CHECK(v[65] == 0.25f);
  CHECK(v[97] == 0.5f);
  CHECK(v[128 + 68] == 0.25f);
}

TEST_CASE("mxfp4, ExponentZeroIsNotZero") {
  Row v = Block(DType::mxfp4).set(0, 0).set(1, 0xF1).values();
  CHECK(v[0] == 0x1p-128f);
  CHECK(v[16] == -12 * 0x1p-128f);
  CHECK(v[1] == 0.0f);
  v = Block(DType::mxfp4).set(0, 1).set(1, 0x01).values();
  CHECK(v[0] == 0x1p-127f);
  v = Block(DType::mxfp4).set(0, 127).set(1, 0x9A).set(16, 0x67).values();
  CHECK(v[0] == -1.0f);   // code 10: -2 / 2
  CHECK(v[16] == -0.5f);  // code 9
  CHECK(v[15] == 6.0f);   // code 7
  CHECK(v[31] == 4.0f);   // code 6
  v = Block(DType::mxfp4).set(0, 254).set(1, 0x01).values();
  CHECK(v[0] == 0x1p126f);
}

TEST_CASE("nvfp4, FourScalesOfEightBits") {
  Block block(DType::nvfp4);
  block.set(0, 0x38).set(1, 0x3F).set(2, 0x01).set(3, 0x7F);  // 1, 1.875, 2^-9, NaN -> 0; halved
  block.set(4, 0xF2).set(4 + 8 + 7, 0x5B).set(4 + 16, 0x07).fill(4 + 24, 8, 0x77);
  Row v = block.values();
  CHECK(v[0] == 1.0f);               // 2 * 0.5
  CHECK(v[8] == -6.0f);              // -12 * 0.5
  CHECK(v[16 + 7] == -3 * 0.9375f);  // code 11
  CHECK(v[16 + 15] == 6 * 0.9375f);  // code 5
  CHECK(v[32] == 12 * 0x1p-10f);
  CHECK(v[48] == 0.0f);
  v = Block(DType::nvfp4).set(0, 0x7E).set(1, 0xB8).fill(4, 16, 0x11).values();
  CHECK(v[0] == 224.0f);  // 1.75 * 2^8 / 2
  CHECK(v[16] == 0.5f);   // the top bit of a scale says nothing
}

}  // namespace
}  // namespace runnel::quant
