#include "backends/cpu/onednn.h"

namespace runnel::cpu {

bool has_onednn() {
  return false;
}

bool has_onednn_bf16() {
  return false;
}

bool multiply_onednn(const GemmTask&) {
  return false;
}

bool multiply_onednn_bf16(const Bf16GemmTask&) {
  return false;
}

}  // namespace runnel::cpu
