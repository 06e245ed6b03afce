// Q5_1: 32 values in 24 bytes: f16 d and m, a fifth bit per value, nibbles. Value = d * q + m.
#pragma once
#include "backends/cpu/formats/block32.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q5_1 : FifthBitBlock<24, 0, true> {};

}  // namespace runnel::cpu::RUNNEL_ISA
