// Q5_0: 32 values in 22 bytes: f16 d, a fifth bit per value, nibbles. Value = d * (q - 16).
#pragma once
#include "backends/cpu/formats/block32.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q5_0 : FifthBitBlock<22, 16, false> {};

}  // namespace runnel::cpu::RUNNEL_ISA
