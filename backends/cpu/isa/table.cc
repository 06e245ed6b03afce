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
#include "backends/cpu/isa/bf16_dots.h"
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {

// Applies `function` to the quantised formats in the order of Fast.
#define RUNNEL_FORMATS(function)                                                        \
  function<Q8_0>, function<Q4_0>, function<Q4_1>, function<Q5_0>, function<Q5_1>,       \
      function<IQ4_NL>, function<Q2_K>, function<Q3_K>, function<Q4_K>, function<Q5_K>, \
      function<Q6_K>, function<IQ4_XS>

namespace {

constexpr Kernels kFunctions = {
    {matmul_f32, matmul_f16, matmul_bf16, nullptr, RUNNEL_FORMATS(matmul_rows)},
    quantize,
#if RUNNEL_SIMD_BITS >= 256 || defined(__ARM_FEATURE_DOTPROD)
    {nullptr, nullptr, nullptr, nullptr, RUNNEL_FORMATS(pack_panel)},
    {nullptr, nullptr, nullptr, nullptr, RUNNEL_FORMATS(panel)},
#else
    {},
    {},
#endif
    pack_tile,
    pack_bf16_tile,
    from_f16,
    from_bf16,
    to_f16,
    to_bf16,
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

#if RUNNEL_SIMD_BITS == 512
constexpr Kernels with_bf16_dots(Kernels kernels) {
  constexpr auto kFormat = static_cast<int>(Fast::bf16_dots);
  kernels.matmul[kFormat] = avx512bf16::matmul_bf16_dots;
  kernels.pack_panel[kFormat] = avx512bf16::pack_bf16_panel;
  kernels.panel[kFormat] = avx512bf16::bf16_panel;
  return kernels;
}
#endif

}  // namespace

extern const Kernels kKernels;
constinit const Kernels kKernels = kFunctions;
#if RUNNEL_SIMD_BITS == 512
extern const Kernels kBf16Kernels;
constinit const Kernels kBf16Kernels = with_bf16_dots(kFunctions);
#endif

}  // namespace runnel::cpu::RUNNEL_ISA
