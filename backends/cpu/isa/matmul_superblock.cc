// y = x W^T for superblock formats of 256 values (q3_k, q4_k, q6_k, iq4_xs) with int8 activations
// (quantize256). One weight superblock is unpacked and then used for up to 4 tokens; an element is
// one register of partial sums over superblocks, in the same order whatever the number of tokens.
#include "backends/cpu/formats/iq4_xs.h"
#include "backends/cpu/formats/q3_k.h"
#include "backends/cpu/formats/q4_k.h"
#include "backends/cpu/formats/q6_k.h"
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {
namespace {

#if defined(__AVX2__)
inline F no_sum() {
  return zero();
}
inline float total(F acc) {
  return sum(acc);
}
#else
inline float no_sum() {
  return 0.0f;
}
inline float total(float acc) {
  return acc;
}
#endif

template <class Format, int T>
void row(const MatmulTask& task, int64_t n, int64_t t0) {
  const uint8_t* w = task.w + n * task.w_stride;
  const Superblock* x[T];
  Acc acc[T];
  for (int t = 0; t < T; ++t) x[t] = reinterpret_cast<const Superblock*>(x_row(task, t0 + t));
  for (int t = 0; t < T; ++t) acc[t] = no_sum();
  for (int64_t block = 0; block < task.k / 256; ++block) {
    typename Format::Unpacked unpacked;
    Format::unpack(w + block * Format::kBlockBytes, unpacked);
    for (int t = 0; t < T; ++t) acc[t] = Format::accumulate(unpacked, x[t][block], acc[t]);
  }
  for (int t = 0; t < T; ++t) y_row(task, t0 + t)[n] = total(acc[t]);
}

template <class Format>
void matmul(const MatmulTask& task) {
  int64_t t = 0;
  for (; t + 4 <= task.n_tokens; t += 4)
    for (int64_t n = 0; n < task.n_rows; ++n) row<Format, 4>(task, n, t);
  for (; t < task.n_tokens; ++t)
    for (int64_t n = 0; n < task.n_rows; ++n) row<Format, 1>(task, n, t);
}

}  // namespace

void matmul_q3_k(const MatmulTask& task) {
  matmul<Q3_K>(task);
}
void matmul_q4_k(const MatmulTask& task) {
  matmul<Q4_K>(task);
}
void matmul_q6_k(const MatmulTask& task) {
  matmul<Q6_K>(task);
}
void matmul_iq4_xs(const MatmulTask& task) {
  matmul<IQ4_XS>(task);
}

}  // namespace runnel::cpu::RUNNEL_ISA
