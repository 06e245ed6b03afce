// The signed Walsh-Hadamard transform of 64 values: spreads outliers and constant offsets over all
// channels, so that few levels fit them. Orthogonal: dot products of two transformed vectors are
// those of the vectors. Stateless, thread-safe.
#pragma once
#include <cstdint>

namespace runnel::quant {

enum class Direction : std::uint8_t { forward, inverse };

/// In place. forward: x <- H (s x) / 8; inverse: x <- s (H x) / 8; s[i] = -1 where bit i of `signs`
/// is set, H the natural-order Hadamard matrix. Stages with distance 1, 2, .. 32, each one rounded
/// addition, so that every implementation gives the same bits.
void hadamard_64(float* x, std::uint64_t signs, Direction direction);

/// Signs of an attention layer (counted among attention layers): fixed, random. `which`: 0 for q
/// and k, 1 for v. SOURCE: splitmix64, Steele, Lea and Flood, OOPSLA 2014.
std::uint64_t hadamard_signs(std::int64_t layer, int which);

}  // namespace runnel::quant
