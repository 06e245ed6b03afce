// Products of bf16 weights by vdpbf16ps, added to the avx512 level's functions by table.cc.
#pragma once
#include "backends/cpu/isa/kernels.h"

namespace runnel::cpu::avx512bf16 {

void matmul_bf16_dots(const MatmulTask& task);
void pack_bf16_panel(const uint8_t* w, int64_t w_stride, int64_t n_rows, int64_t k, void* panel);
void bf16_panel(const PanelTask& task);

}  // namespace runnel::cpu::avx512bf16
