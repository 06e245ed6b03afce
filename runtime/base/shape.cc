#include "runtime/base/shape.h"

namespace runnel {

std::string Shape::to_string() const {
  std::string text = "[";
  for (int i = 0; i < rank; ++i) text += (i ? ", " : "") + std::to_string((*this)[i]);
  return text + "]";
}

}  // namespace runnel
