#include "tests/conformance/case_data.h"

#include <algorithm>
#include <cstring>

#include "quant/codecs.h"
#include "tests/conformance/random.h"

namespace runnel::conformance {
namespace {

// What stands where no valid data is: a kernel that reads it is far off or crashes.
constexpr float kStale = 100.0f;
constexpr std::int32_t kStaleId = 0x7FFFFFFF;
Bytes raw(const void* data, std::size_t size) {
  Bytes bytes(size);
  std::memcpy(bytes.data(), data, size);
  return bytes;
}

Bytes encode(const std::vector<float>& values, const Shape& shape, DType dtype, Random& random) {
  const quant::Codec& codec = quant::codec(dtype);
  Bytes bytes(bytes_of(shape, dtype));
  if (codec.encode_row == nullptr) {  // any bytes are blocks; 0x7F and 0xFF would be NaN scales
    for (std::byte& b : bytes) b = static_cast<std::byte>(random.below(0x7F));
    return bytes;
  }
  const std::int64_t cols = shape.cols();
  const std::size_t row = quant::row_bytes(dtype, static_cast<std::size_t>(cols));
  for (std::int64_t r = 0; r < shape.rows(); ++r)
    codec.encode_row(values.data() + r * cols, nullptr,
                     bytes.data() + static_cast<std::size_t>(r) * row, cols);
  return bytes;
}

std::vector<float> numbers(const Operand& operand, Random& random) {
  std::vector<float> values(static_cast<std::size_t>(operand.shape.elems()));
  for (float& v : values)
    v = operand.fill == Fill::ties ? static_cast<float>(1 + random.below(3))
                                   : operand.scale * random.normal();
  return values;
}

std::vector<std::int32_t> identifiers(const Operand& operand, Random& random) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(operand.shape.elems()));
  const std::int64_t cols = operand.shape.rank > 1 ? operand.shape.cols() : 1;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto row = static_cast<std::ptrdiff_t>(i) / cols * cols;
    do ids[i] = static_cast<std::int32_t>(random.below(operand.limit));
    while (operand.fill == Fill::distinct &&
           std::find(ids.begin() + row, ids.begin() + static_cast<std::ptrdiff_t>(i), ids[i]) !=
               ids.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return ids;
}

/// Content of an input; rows that the step does not use are stale.
Bytes input_bytes(const Operand& operand, const Case& one, Random& random) {
  const std::int64_t row_elems = operand.shape.elems() / operand.shape[0];
  const std::int64_t rows = operand.per_token
                                ? operand.shape[0] / one.max_tokens * one.params.n_tokens
                                : operand.shape[0];
  const std::ptrdiff_t used = rows * row_elems;
  if (operand.dtype == DType::i32) {
    std::vector<std::int32_t> ids = identifiers(operand, random);
    std::fill(ids.begin() + used, ids.end(), kStaleId);
    return raw(ids.data(), ids.size() * sizeof(std::int32_t));
  }
  std::vector<float> values = numbers(operand, random);
  std::fill(values.begin() + used, values.end(), kStale);
  return raw(values.data(), values.size() * sizeof(float));
}

/// Pages of K or V: valid up to what the op may read, stale beyond; one spare page.
std::vector<Bytes> page_bytes(const Operand& operand, const Case& one, Random& random) {
  const std::int64_t end = one.params.pos + one.params.n_tokens;
  const std::int64_t valid = one.op == Op::attention ? end : one.params.pos;
  const Shape& shape = operand.shape;
  std::vector<Bytes> pages;
  for (std::int64_t first = 0; first < end + kPageTokens; first += kPageTokens) {
    std::vector<float> values = numbers(operand, random);
    for (std::int64_t g = 0; g < shape[0]; ++g)
      for (std::int64_t slot = std::clamp<std::int64_t>(valid - first, 0, kPageTokens);
           slot < kPageTokens; ++slot)
        std::fill_n(values.begin() + (g * kPageTokens + slot) * shape[2], shape[2], kStale);
    pages.push_back(encode(values, shape, operand.dtype, random));
  }
  return pages;
}

/// A ring whose slots hold the positions before the step; stale where there is no such position.
std::vector<Bytes> ring_bytes(const Operand& operand, const Case& one, Random& random) {
  std::vector<float> values = numbers(operand, random);
  for (std::int64_t slot = one.params.pos; slot < operand.shape[0]; ++slot)
    std::fill_n(values.begin() + slot * operand.shape[1], operand.shape[1], kStale);
  return {encode(values, operand.shape, operand.dtype, random)};
}

}  // namespace

CaseData make_data(const Case& one) {
  Random random(one.name);
  CaseData data;
  for (const Operand& operand : one.in) {
    if (operand.role == Role::input)
      data.parts.push_back({input_bytes(operand, one, random)});
    else if (operand.role == Role::weight)
      data.parts.push_back(
          {encode(numbers(operand, random), operand.shape, operand.dtype, random)});
    else if (operand.state == StateKind::conv)
      data.parts.push_back(ring_bytes(operand, one, random));
    else
      data.parts.push_back(page_bytes(operand, one, random));
  }
  return data;
}

}  // namespace runnel::conformance
