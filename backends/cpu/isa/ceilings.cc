// CeilingLoops of one ISA level. read: 4 streams per call, one cache line of each per turn: on
// Cascade Lake 1.2 times one stream, and another 1.1 when fetched 1 KiB ahead; on Zen 4 as fast as
// one stream, and slower when fetched ahead. The others: independent chains, as many as hide the
// latency of the instruction on two ports.
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

constexpr int kChains = 12;  // 16 registers are left with 4 for operands
constexpr int kStreams = 4;
constexpr int64_t kLine = 64 / sizeof(float);  // floats

/// v, computed here and kept in a register: g++ 12 moves each sum twice per round else, and drops
/// those that nobody reads.
template <class V>
inline V kept(V v) {
#if defined(__x86_64__)
  asm volatile("" : "+v"(v));
#elif defined(__aarch64__)
  asm volatile("" : "+w"(v));
#else
  asm volatile("" : : "r"(&v) : "memory");
#endif
  return v;
}

#if RUNNEL_SIMD_BITS == 512
__attribute__((target("avx512bf16"))) int64_t bf16_chains(int64_t rounds) {
  const __m512bh ones = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3F80));
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  for (int64_t r = 0; r < rounds; ++r)
    for (__m512& sum : sums) {
      sum = _mm512_dpbf16_ps(sum, ones, ones);
      asm volatile("" : "+v"(sum));  // as kept(), which has not this function's target
    }
  return rounds * kChains * 32 * 2;
}
#endif

}  // namespace

float read_floats(const float* p, int64_t n, int64_t ahead) {
  const int64_t part = n / kStreams;
  F sums[kStreams][kLine / kLanes];
  for (auto& stream : sums)
    for (F& sum : stream) sum = zero();
  for (int64_t i = 0; i < part; i += kLine)
    for (int s = 0; s < kStreams; ++s) {
      const float* line = p + s * part + i;
      if (ahead > 0) __builtin_prefetch(line + ahead);
      for (int j = 0; j < kLine / kLanes; ++j)
        sums[s][j] = add(sums[s][j], load(line + j * kLanes));
    }
  F total = zero();
  for (const auto& stream : sums)
    for (const F& sum : stream) total = add(total, sum);
  return sum(total);
}

int64_t int8_chains(int64_t rounds) {
#if RUNNEL_SIMD_BITS == 512
  const I ones = _mm512_set1_epi8(1);
  I sums[kChains];
  for (I& sum : sums) sum = _mm512_setzero_si512();
  for (int64_t r = 0; r < rounds; ++r)
    for (I& sum : sums) sum = kept(_mm512_dpbusd_epi32(sum, ones, ones));
  return rounds * kChains * 64 * 2;
#elif RUNNEL_SIMD_BITS == 256
  // Without vpdpbusd pairs are summed to 16 bits; what widening them to 32 costs depends on the
  // format. There each product takes the sum before it, else it would be computed once.
  const I ones = _mm256_set1_epi8(1);
  I sums[kChains];
  for (I& sum : sums) sum = ones;
  for (int64_t r = 0; r < rounds; ++r)
    for (I& sum : sums)
      if constexpr (kExactDots)
        sum = kept(add_bytes(sum, ones, ones));
      else
        sum = kept(_mm256_add_epi16(sum, _mm256_maddubs_epi16(sum, ones)));
  return rounds * kChains * 32 * 2;
#elif RUNNEL_SIMD_BITS == 128
  const I ones = vdupq_n_s8(1);
  Dots sums[kChains];
  for (Dots& sum : sums) sum = vdupq_n_s32(0);
  for (int64_t r = 0; r < rounds; ++r)
    for (Dots& sum : sums)
#if defined(__ARM_FEATURE_MATMUL_INT8)
      sum = kept(vmmlaq_s32(sum, ones, ones));
  return rounds * kChains * 32 * 2;
#else
      sum = kept(add_products(sum, ones, kept(ones)));
  return rounds * kChains * 16 * 2;
#endif
#else
  // What the compiler makes of the loop that the kernels use.
  constexpr int kValues = 512;
  int8_t w[kValues], x[kValues];
  for (int i = 0; i < kValues; ++i) w[i] = x[i] = static_cast<int8_t>(i);
  int32_t sum = 0;
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : : "r"(w) : "memory");
    sum ^= dot_signed(w, x, kValues);
  }
  asm volatile("" : : "r"(sum));
  return rounds * kValues * 2;
#endif
}

int64_t bf16_chains_if_any(int64_t rounds) {
#if RUNNEL_SIMD_BITS == 512
  if (__builtin_cpu_supports("avx512bf16")) return bf16_chains(rounds);
#endif
  (void)rounds;
  return 0;
}

int64_t f32_chains(int64_t rounds) {
  const F half = set1(0.5f), one = set1(1.0f);
  F sums[kChains];
  for (F& sum : sums) sum = zero();
  for (int64_t r = 0; r < rounds; ++r)
    for (F& sum : sums) sum = kept(fma(sum, half, one));
  return rounds * kChains * kLanes * 2;
}

}  // namespace runnel::cpu::RUNNEL_ISA
