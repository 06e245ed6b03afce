// What known answers are made of: numbers, encoded weights, pages, attention in double precision.
#pragma once
#include <vector>

#include "runtime/graph/graph.h"

namespace runnel::vulkan {

/// Numbers in (-1, 1) that repeat exactly. SOURCE: Marsaglia, Xorshift RNGs, 2003.
class Numbers {
 public:
  float next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 17;
    state_ ^= state_ << 5;
    return static_cast<float>(static_cast<std::int32_t>(state_)) * 0x1p-31f;
  }
  std::vector<float> take(std::int64_t n) {
    std::vector<float> x(static_cast<std::size_t>(n));
    for (float& v : x) v = next();
    return x;
  }

 private:
  std::uint32_t state_ = 0x52756E6Eu;
};

std::vector<std::byte> bytes_of(const std::vector<float>& x);
/// A weight [rows, cols] as in a file, and what it decodes to.
std::vector<std::byte> encode_weight(DType type,
                                     std::int64_t rows,
                                     std::int64_t cols,
                                     Numbers& numbers,
                                     std::vector<float>& decoded);
/// x: [cols] times the transpose of w: [rows, cols].
std::vector<double> multiply(const std::vector<double>& x, const std::vector<float>& w);
/// A page of rows, and what they decode to: x [kv_heads, 64, dh].
std::vector<std::byte> page_of(const Value& state, Numbers& numbers, std::vector<float>& decoded);
/// softmax(scale * q k^T) v of one head at `place`; k and v: [64, dh] of two pages each.
void attend(const AttentionAttr& attr,
            const float* q,
            const std::vector<float>* k,
            const std::vector<float>* v,
            std::int64_t kv_head,
            std::int64_t place,
            std::vector<float>& out);

}  // namespace runnel::vulkan
