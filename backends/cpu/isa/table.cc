// The Kernels table of one ISA level.
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {

extern const Kernels kKernels;
const Kernels kKernels = {
    {matmul_f32, matmul_f16, matmul_bf16, matmul_q8_0, matmul_q4_0, matmul_q3_k, matmul_q4_k,
     matmul_q6_k, matmul_iq4_xs},
    quantize32,
    quantize256,
    from_f16,
    from_bf16,
    to_f16,
    add_rows,
    swiglu,
    rms_norm,
    rotate_half,
    multiply_add,
    argmax,
    short_conv,
    attention,
    {read_floats, int8_chains, bf16_chains_if_any, f32_chains},
};

}  // namespace runnel::cpu::RUNNEL_ISA
