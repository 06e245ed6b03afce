// The codec table. Each format's two functions live in quant/<format>.cc.
#include "quant/codecs.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace runnel::quant {

static_assert(std::endian::native == std::endian::little, "blocks are stored little-endian");

namespace {
using Decode = void(const std::byte* src, float* dst, std::int64_t n);
using Encode = void(const float* src, const float* importance, std::byte* dst, std::int64_t n);
}  // namespace

// clang-format off: one line per format
Decode decode_f32;
Encode encode_f32;
Decode decode_f16;
Encode encode_f16;
Decode decode_bf16;
Encode encode_bf16;
Decode decode_i32;
Decode decode_q4_0;
Encode encode_q4_0;
Decode decode_q4_1;
Encode encode_q4_1;
Decode decode_q5_0;
Encode encode_q5_0;
Decode decode_q5_1;
Encode encode_q5_1;
Decode decode_q8_0;
Encode encode_q8_0;
Decode decode_q2_k;
Encode encode_q2_k;
Decode decode_q3_k;
Encode encode_q3_k;
Decode decode_q4_k;
Encode encode_q4_k;
Decode decode_q5_k;
Encode encode_q5_k;
Decode decode_q6_k;
Encode encode_q6_k;
Decode decode_iq4_nl;
Encode encode_iq4_nl;
Decode decode_iq4_xs;
Encode encode_iq4_xs;
Decode decode_tq1_0;
Encode encode_tq1_0;
Decode decode_tq2_0;
Encode encode_tq2_0;
Decode decode_mxfp4;
Encode encode_mxfp4;
Decode decode_nvfp4;

namespace {

constexpr std::array kCodecs = std::to_array<Codec>({
    {DType::f32, decode_f32, encode_f32},          {DType::f16, decode_f16, encode_f16},
    {DType::bf16, decode_bf16, encode_bf16},       {DType::i32, decode_i32, nullptr},
    {DType::q4_0, decode_q4_0, encode_q4_0},       {DType::q4_1, decode_q4_1, encode_q4_1},
    {DType::q5_0, decode_q5_0, encode_q5_0},       {DType::q5_1, decode_q5_1, encode_q5_1},
    {DType::q8_0, decode_q8_0, encode_q8_0},       {DType::q2_k, decode_q2_k, encode_q2_k},
    {DType::q3_k, decode_q3_k, encode_q3_k},       {DType::q4_k, decode_q4_k, encode_q4_k},
    {DType::q5_k, decode_q5_k, encode_q5_k},       {DType::q6_k, decode_q6_k, encode_q6_k},
    {DType::iq4_nl, decode_iq4_nl, encode_iq4_nl}, {DType::iq4_xs, decode_iq4_xs, encode_iq4_xs},
    {DType::tq1_0, decode_tq1_0, encode_tq1_0},    {DType::tq2_0, decode_tq2_0, encode_tq2_0},
    {DType::mxfp4, decode_mxfp4, encode_mxfp4},    {DType::nvfp4, decode_nvfp4, nullptr},
});
// clang-format on

consteval bool codecs_follow_the_dtype_table() {
  for (std::size_t i = 0; i < kCodecs.size(); ++i)
    if (kCodecs[i].type != kDTypes[i].type) return false;
  return kCodecs.size() == kDTypes.size();
}
static_assert(codecs_follow_the_dtype_table());

}  // namespace

const Codec& codec(DType type) {
  return kCodecs[static_cast<std::size_t>(type)];
}

}  // namespace runnel::quant
