// Q4_1: 32 values in 20 bytes: f16 d and m, nibbles. Value = d * q + m.
#pragma once
#include "backends/cpu/formats/block32.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q4_1 : NibbleBlock<20, 0, true> {};

}  // namespace runnel::cpu::RUNNEL_ISA
