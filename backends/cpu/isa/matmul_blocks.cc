// Products of the formats with blocks of 32 values.
#include "backends/cpu/formats/iq4_nl.h"
#include "backends/cpu/formats/q4_0.h"
#include "backends/cpu/formats/q4_1.h"
#include "backends/cpu/formats/q5_0.h"
#include "backends/cpu/formats/q5_1.h"
#include "backends/cpu/formats/q8_0.h"
#include "backends/cpu/isa/panel.h"

namespace runnel::cpu::RUNNEL_ISA {

RUNNEL_PRODUCTS(Q8_0)
RUNNEL_PRODUCTS(Q4_0)
RUNNEL_PRODUCTS(Q4_1)
RUNNEL_PRODUCTS(Q5_0)
RUNNEL_PRODUCTS(Q5_1)
RUNNEL_PRODUCTS(IQ4_NL)

}  // namespace runnel::cpu::RUNNEL_ISA
