#include "quant/hadamard.h"

namespace runnel::quant {
namespace {

constexpr int kValues = 64;

void flip(float* x, std::uint64_t signs) {
  for (int i = 0; i < kValues; ++i)
    if (signs >> i & 1) x[i] = -x[i];
}

}  // namespace

void hadamard_64(float* x, std::uint64_t signs, Direction direction) {
  if (direction == Direction::forward) flip(x, signs);
  for (int distance = 1; distance < kValues; distance *= 2)
    for (int i = 0; i < kValues; ++i) {
      if (i & distance) continue;
      const float a = x[i], b = x[i + distance];
      x[i] = a + b;
      x[i + distance] = a - b;
    }
  for (int i = 0; i < kValues; ++i) x[i] *= 0.125f;
  if (direction == Direction::inverse) flip(x, signs);
}

std::uint64_t hadamard_signs(std::int64_t layer, int which) {
  std::uint64_t z = 0x52756E6E656C4B56ull +
                    0x9E3779B97F4A7C15ull * static_cast<std::uint64_t>(2 * layer + which + 1);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

}  // namespace runnel::quant
