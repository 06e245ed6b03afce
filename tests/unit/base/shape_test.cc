#include "runtime/base/shape.h"

#include <doctest/doctest.h>

namespace runnel {
namespace {

TEST_CASE("Shape, CountsRowsAndColumns") {
  const Shape shape{2, 3, 5};
  CHECK(shape.rank == 3);
  CHECK(shape.cols() == 5);
  CHECK(shape.rows() == 6);
  CHECK(shape.elems() == 30);
  CHECK(shape.to_string() == "[2, 3, 5]");
}

TEST_CASE("Shape, OfRankZeroIsOneValue") {
  CHECK(Shape{}.elems() == 1);
  CHECK(Shape{}.to_string() == "[]");
}

TEST_CASE("Shape, ComparesRankToo") {
  CHECK(Shape{2, 3} == Shape{2, 3});
  CHECK_FALSE(Shape{2, 3} == Shape{3, 2});
  CHECK_FALSE(Shape{2} == Shape{2, 1});
}

}  // namespace
}  // namespace runnel
