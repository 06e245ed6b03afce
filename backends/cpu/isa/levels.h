// The ISA levels compiled into this program, lowest first. For baseline files only.
#pragma once
#include <stdint.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

#include "backends/cpu/isa/kernels.h"

namespace runnel::cpu {

namespace baseline {
extern const Kernels kKernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kKernels;
}
namespace avxvnni {
extern const Kernels kKernels;
}
namespace avxvnni_evex {  // the same sources in AVX-512's encoding
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
extern const Kernels kBf16Kernels;
}  // namespace avx512
#elif defined(__aarch64__)
namespace dotprod {
extern const Kernels kKernels;
}
namespace i8mm {
extern const Kernels kKernels;
}
#endif

enum class Isa : uint8_t { baseline, avx2, avxvnni, avx512, avx512bf16, dotprod, i8mm };

struct IsaLevel {
  Isa isa;
  const char* name;    // accepted by RUNNEL_CPU_ISA
  const char* suffix;  // of kernel names
  const char* title;   // for people
  const Kernels* kernels;
};

// clang-format off: one row per level, aligned
inline constexpr IsaLevel kIsaLevels[] = {
    {Isa::baseline, "baseline", "baseline", "baseline", &baseline::kKernels},
#if defined(__x86_64__)
    {Isa::avx2, "avx2", "avx2", "AVX2", &avx2::kKernels},
    {Isa::avxvnni, "avxvnni", "avxvnni", "AVX-VNNI", &avxvnni::kKernels},
    {Isa::avx512, "avx512", "avx512vnni", "AVX-512 VNNI", &avx512::kKernels},
    {Isa::avx512bf16, "avx512bf16", "avx512bf16", "AVX-512 BF16", &avx512::kBf16Kernels},
#elif defined(__aarch64__)
    {Isa::dotprod, "dotprod", "dotprod", "NEON dotprod", &dotprod::kKernels},
    {Isa::i8mm, "i8mm", "i8mm", "NEON i8mm", &i8mm::kKernels},
#endif
};
// clang-format on

#if defined(__x86_64__)
/// clang 14 cannot ask for it by name. SOURCE: Intel SDM, CPUID leaf 7, subleaf 1: EAX bit 4.
inline bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}
#endif

/// True when this CPU and operating system can run the level.
inline bool can_run(Isa isa) {
#if defined(__x86_64__)
  // Every CPU with AVX2 has F16C, which clang 14 cannot ask for.
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (isa == Isa::avx2) return has_avx2;
  if (isa == Isa::avxvnni)
    return has_avx2 && (has_avx_vnni() || (__builtin_cpu_supports("avx512vl") &&
                                           __builtin_cpu_supports("avx512vnni")));
  const bool has_avx512 =
      has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vnni");
  if (isa == Isa::avx512) return has_avx512;
  if (isa == Isa::avx512bf16) return has_avx512 && __builtin_cpu_supports("avx512bf16");
#elif defined(__aarch64__)
  const bool has_dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  if (isa == Isa::dotprod) return has_dotprod;
  if (isa == Isa::i8mm) return has_dotprod && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
#endif
  return isa == Isa::baseline;
}

/// The level's functions in the encoding that this CPU has. REQUIRES: can_run().
inline const Kernels* kernels_for(const IsaLevel& level) {
#if defined(__x86_64__)
  if (level.isa == Isa::avxvnni && !has_avx_vnni()) return &avxvnni_evex::kKernels;
#endif
  return level.kernels;
}

}  // namespace runnel::cpu
