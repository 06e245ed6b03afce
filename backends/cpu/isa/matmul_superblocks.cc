// Products of the formats with superblocks of 256 values.
#include "backends/cpu/formats/iq4_xs.h"
#include "backends/cpu/formats/q2_k.h"
#include "backends/cpu/formats/q3_k.h"
#include "backends/cpu/formats/q4_k.h"
#include "backends/cpu/formats/q5_k.h"
#include "backends/cpu/formats/q6_k.h"
#include "backends/cpu/isa/panel.h"

namespace runnel::cpu::RUNNEL_ISA {

RUNNEL_PRODUCTS(Q2_K)
RUNNEL_PRODUCTS(Q3_K)
RUNNEL_PRODUCTS(Q4_K)
RUNNEL_PRODUCTS(Q5_K)
RUNNEL_PRODUCTS(Q6_K)
RUNNEL_PRODUCTS(IQ4_XS)

}  // namespace runnel::cpu::RUNNEL_ISA
