// What each format loses when its scales come straight from the extreme values of a block: the
// yardstick that the searching encoders must beat. SOURCE of the formulas for the 32-wide formats:
// the reference quantisers in gguf-py/gguf/quants.py of ggml-org/llama.cpp.
#pragma once
#include "tests/unit/quant/rows.h"

namespace runnel::quant {

/// The row after plain rounding to `type` and back.
Row plain_rounding(DType type, const Row& row);

}  // namespace runnel::quant
