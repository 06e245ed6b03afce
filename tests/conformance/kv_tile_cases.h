// Cases of the ops over a tiled KV cache.
#pragma once
#include "tests/conformance/case.h"

namespace runnel::conformance {

void kv_tile_cases(std::vector<Case>& cases);

}  // namespace runnel::conformance
