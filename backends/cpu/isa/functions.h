// The functions of one ISA level, gathered into its Kernels table by table.cc.
#pragma once
#include "backends/cpu/isa/kernels.h"
#include "backends/cpu/isa/simd.h"

namespace runnel::cpu::RUNNEL_ISA {

void matmul_f32(const MatmulTask& task);
void matmul_f16(const MatmulTask& task);
void matmul_bf16(const MatmulTask& task);
void matmul_q8_0(const MatmulTask& task);
void matmul_q4_0(const MatmulTask& task);
void matmul_q3_k(const MatmulTask& task);
void matmul_q4_k(const MatmulTask& task);
void matmul_q6_k(const MatmulTask& task);
void matmul_iq4_xs(const MatmulTask& task);
void quantize32(const float* x, int64_t k, void* out);
void quantize256(const float* x, int64_t k, void* out);
void from_f16(const void* src, float* dst, int64_t n);
void from_bf16(const void* src, float* dst, int64_t n);
void to_f16(const float* src, void* dst, int64_t n);
void add_rows(float* out, const float* a, const float* b, int64_t n);
void swiglu(float* out, const float* gate, const float* up, int64_t n);
void rms_norm(float* out, const float* x, const float* weight, int64_t n, float eps);
void rotate_half(float* out, const float* x, const float* cos_sin, int64_t n_pairs);
void multiply_add(float* out, const float* x, float factor, int64_t n);
int64_t argmax(const float* x, int64_t n);
void short_conv(const ConvTask& task);
void attention(const AttentionTask& task);
float read_floats(const float* p, int64_t n);
int64_t int8_chains(int64_t rounds);
int64_t bf16_chains_if_any(int64_t rounds);
int64_t f32_chains(int64_t rounds);

/// Row of x that token t reads.
static inline const uint8_t* x_row(const MatmulTask& task, int64_t t) {
  return task.x + (task.x_index ? task.x_index[t] : t) * task.x_stride;
}
/// Row of y that token t writes.
static inline float* y_row(const MatmulTask& task, int64_t t) {
  return task.y + (task.y_index ? task.y_index[t] : t) * task.y_stride;
}

}  // namespace runnel::cpu::RUNNEL_ISA
