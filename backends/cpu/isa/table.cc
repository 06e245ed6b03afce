// The Kernels table of one ISA level.
#include "backends/cpu/formats/iq4_nl.h"
#include "backends/cpu/formats/iq4_xs.h"
#include "backends/cpu/formats/q2_k.h"
#include "backends/cpu/formats/q3_k.h"
#include "backends/cpu/formats/q4_0.h"
#include "backends/cpu/formats/q4_1.h"
#include "backends/cpu/formats/q4_k.h"
#include "backends/cpu/formats/q5_0.h"
#include "backends/cpu/formats/q5_1.h"
#include "backends/cpu/formats/q5_k.h"
#include "backends/cpu/formats/q6_k.h"
#include "backends/cpu/formats/q8_0.h"
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {

// Applies `function` to the quantised formats in the order of Fast.
#define RUNNEL_FORMATS(function)                                                        \
  function<Q8_0>, function<Q4_0>, function<Q4_1>, function<Q5_0>, function<Q5_1>,       \
      function<IQ4_NL>, function<Q2_K>, function<Q3_K>, function<Q4_K>, function<Q5_K>, \
      function<Q6_K>, function<IQ4_XS>

extern const Kernels kKernels;
const Kernels kKernels = {
    {matmul_f32, matmul_f16, matmul_bf16, RUNNEL_FORMATS(matmul_rows)},
    quantize,
#if RUNNEL_SIMD_BITS >= 256 || defined(__ARM_FEATURE_DOTPROD)
    {nullptr, nullptr, nullptr, RUNNEL_FORMATS(pack_panel)},
    {nullptr, nullptr, nullptr, RUNNEL_FORMATS(panel)},
#else
    {},
    {},
#endif
    pack_tile,
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
    tile_attention,
    page_bounds,
    seal,
    rotate,
    {read_floats, int8_chains, bf16_chains_if_any, f32_chains},
};

}  // namespace runnel::cpu::RUNNEL_ISA
