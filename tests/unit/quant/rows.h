// Shared by the quant tests: fixed random data and short ways to call the codecs.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <vector>

#include "quant/codecs.h"

namespace runnel::quant {

using Row = std::vector<float>;
using Bytes = std::vector<std::byte>;

/// `n` values of a normal distribution, always the same for one seed (Box and Muller's method; the
/// distributions of <random> differ between libraries).
inline Row gaussian_row(std::size_t n, float deviation = 1.0f, unsigned seed = 1) {
  std::mt19937 engine(seed);
  const auto uniform = [&] { return (static_cast<double>(engine()) + 0.5) / 4294967296.0; };
  Row row(n);
  for (float& value : row) {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    value = static_cast<float>(radius * std::cos(6.283185307179586 * uniform())) * deviation;
  }
  return row;
}

/// REQUIRES: whole blocks.
inline Row decode(DType type, const Bytes& bytes) {
  Row row(bytes.size() / info(type).block_bytes * info(type).block_elems);
  codec(type).decode_row(bytes.data(), row.data(), static_cast<std::int64_t>(row.size()));
  return row;
}

/// REQUIRES: whole blocks. `importance` may be null.
inline Bytes encode(DType type, const Row& row, const float* importance = nullptr) {
  Bytes bytes(row_bytes(type, row.size()));
  codec(type).encode_row(row.data(), importance, bytes.data(),
                         static_cast<std::int64_t>(row.size()));
  return bytes;
}

/// The row as it comes back from `type`.
inline Row through(DType type, const Row& row, const float* importance = nullptr) {
  return decode(type, encode(type, row, importance));
}

/// Root of the summed squared differences over the root of the summed squares of `row`.
inline double relative_error(const Row& row, const Row& other) {
  double error = 0;
  double power = 0;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const double difference = static_cast<double>(other[i]) - row[i];
    error += difference * difference;
    power += static_cast<double>(row[i]) * row[i];
  }
  return std::sqrt(error / power);
}

/// The formats that lose something and can be written.
inline std::vector<DType> lossy_types() {
  std::vector<DType> types;
  for (const DTypeInfo& row : kDTypes)
    if (row.encodes && row.scheme != Scheme::plain) types.push_back(row.type);
  return types;
}

}  // namespace runnel::quant
