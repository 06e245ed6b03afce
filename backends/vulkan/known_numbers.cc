#include "backends/vulkan/known_numbers.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/codecs.h"
#include "quant/half.h"

namespace runnel::vulkan {

std::vector<std::byte> bytes_of(const std::vector<float>& x) {
  const auto bytes = std::as_bytes(std::span(x));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> encode_weight(DType type,
                                     std::int64_t rows,
                                     std::int64_t cols,
                                     Numbers& numbers,
                                     std::vector<float>& decoded) {
  const std::size_t row = quant::row_bytes(type, static_cast<std::size_t>(cols));
  std::vector<std::byte> bytes(row * static_cast<std::size_t>(rows));
  decoded.resize(static_cast<std::size_t>(rows * cols));
  const quant::Codec& codec = quant::codec(type);
  for (std::int64_t r = 0; r < rows; ++r) {
    std::byte* at = bytes.data() + static_cast<std::size_t>(r) * row;
    const std::vector<float> x = numbers.take(cols);
    if (codec.encode_row != nullptr)
      codec.encode_row(x.data(), nullptr, at, cols);
    else  // finite for every format that is only read: small scales, any codes
      for (std::size_t i = 0; i < row; ++i) at[i] = static_cast<std::byte>((i * 7 + 3) % 96);
    codec.decode_row(at, decoded.data() + r * cols, cols);
  }
  return bytes;
}

std::vector<double> multiply(const std::vector<double>& x, const std::vector<float>& w) {
  std::vector<double> out(w.size() / x.size(), 0.0);
  for (std::size_t n = 0; n < out.size(); ++n)
    for (std::size_t k = 0; k < x.size(); ++k)
      out[n] += x[k] * static_cast<double>(w[n * x.size() + k]);
  return out;
}

std::vector<std::byte> page_of(const Value& state, Numbers& numbers, std::vector<float>& decoded) {
  decoded = numbers.take(state.shape.elems());
  if (state.dtype == DType::f32) return bytes_of(decoded);
  std::vector<std::byte> bytes(decoded.size() * 2);
  for (std::size_t i = 0; i < decoded.size(); ++i) {
    const std::uint16_t half = quant::f32_to_f16(decoded[i]);
    std::memcpy(bytes.data() + 2 * i, &half, sizeof(half));
    decoded[i] = quant::f16_to_f32(half);
  }
  return bytes;
}

void attend(const AttentionAttr& attr,
            const float* q,
            const std::vector<float>* k,
            const std::vector<float>* v,
            std::int64_t kv_head,
            std::int64_t place,
            std::vector<float>& out) {
  const std::int64_t dh = attr.head_dim;
  const std::int64_t first =
      attr.window > 0 ? std::max<std::int64_t>(0, place + 1 - attr.window) : 0;
  std::vector<double> total(static_cast<std::size_t>(dh), 0.0);
  double sum = 0;
  for (std::int64_t key = first; key <= place; ++key) {
    const auto at = static_cast<std::size_t>((kv_head * kPageTokens + key % kPageTokens) * dh);
    const auto of = static_cast<std::size_t>(key / kPageTokens);
    double score = 0;
    for (std::int64_t d = 0; d < dh; ++d)
      score += static_cast<double>(q[d]) * k[of][at + static_cast<std::size_t>(d)];
    const double weight = std::exp(score * static_cast<double>(attr.scale));
    sum += weight;
    for (std::size_t d = 0; d < total.size(); ++d)
      total[d] += weight * static_cast<double>(v[of][at + d]);
  }
  for (const double x : total) out.push_back(static_cast<float>(x / sum));
}

}  // namespace runnel::vulkan
