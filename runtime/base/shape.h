// Tensor shape: up to four dimensions, outermost first, the last one contiguous.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace runnel {

/// dims()[0] is the outermost dimension: x: [n_tokens, d_model], W: [out, in].
struct Shape {
  static constexpr int kMaxRank = 4;
  std::array<std::int64_t, kMaxRank> dim{1, 1, 1, 1};
  int rank = 0;

  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<std::int64_t> dims) {
    for (std::int64_t d : dims)
      if (rank < kMaxRank) dim[static_cast<std::size_t>(rank++)] = d;
  }
  constexpr std::int64_t operator[](int i) const { return dim[static_cast<std::size_t>(i)]; }
  /// Contiguous dimension; 1 for rank 0.
  constexpr std::int64_t cols() const { return rank == 0 ? 1 : (*this)[rank - 1]; }
  /// Product of all dimensions but the last.
  constexpr std::int64_t rows() const {
    std::int64_t n = 1;
    for (int i = 0; i + 1 < rank; ++i) n *= (*this)[i];
    return n;
  }
  constexpr std::int64_t elems() const { return rows() * cols(); }
  constexpr bool operator==(const Shape& other) const {
    return rank == other.rank && dim == other.dim;
  }
  /// "[2, 3]"
  std::string to_string() const;
};

}  // namespace runnel
