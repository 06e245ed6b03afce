// Q4_0: 32 values in 18 bytes: f16 d, nibbles. Value = d * (q - 8).
#pragma once
#include "backends/cpu/formats/block32.h"

namespace runnel::cpu::RUNNEL_ISA {

struct Q4_0 : NibbleBlock<18, 8, false> {};

}  // namespace runnel::cpu::RUNNEL_ISA
