// All block formats, and the choice among them at run time.
#pragma once
#include "backends/cuda/formats/iq4_nl.cuh"
#include "backends/cuda/formats/iq4_xs.cuh"
#include "backends/cuda/formats/mxfp4.cuh"
#include "backends/cuda/formats/nvfp4.cuh"
#include "backends/cuda/formats/q2_k.cuh"
#include "backends/cuda/formats/q3_k.cuh"
#include "backends/cuda/formats/q4_0.cuh"
#include "backends/cuda/formats/q4_1.cuh"
#include "backends/cuda/formats/q4_k.cuh"
#include "backends/cuda/formats/q5_0.cuh"
#include "backends/cuda/formats/q5_1.cuh"
#include "backends/cuda/formats/q5_k.cuh"
#include "backends/cuda/formats/q6_k.cuh"
#include "backends/cuda/formats/q8_0.cuh"
#include "backends/cuda/formats/tq1_0.cuh"
#include "backends/cuda/formats/tq2_0.cuh"

namespace runnel::cuda {

/// Calls f.template operator()<Format>() with the format of a packed type.
template <class F>
__host__ __device__ inline auto with_format(quant::DType type, F&& f) {
  switch (type) {
    case quant::DType::q4_1:
      return f.template operator()<Q4_1>();
    case quant::DType::q5_0:
      return f.template operator()<Q5_0>();
    case quant::DType::q5_1:
      return f.template operator()<Q5_1>();
    case quant::DType::q8_0:
      return f.template operator()<Q8_0>();
    case quant::DType::q2_k:
      return f.template operator()<Q2_k>();
    case quant::DType::q3_k:
      return f.template operator()<Q3_k>();
    case quant::DType::q4_k:
      return f.template operator()<Q4_k>();
    case quant::DType::q5_k:
      return f.template operator()<Q5_k>();
    case quant::DType::q6_k:
      return f.template operator()<Q6_k>();
    case quant::DType::iq4_nl:
      return f.template operator()<Iq4_nl>();
    case quant::DType::iq4_xs:
      return f.template operator()<Iq4_xs>();
    case quant::DType::tq2_0:
      return f.template operator()<Tq2_0>();
    case quant::DType::tq1_0:
      return f.template operator()<Tq1_0>();
    case quant::DType::mxfp4:
      return f.template operator()<Mxfp4>();
    case quant::DType::nvfp4:
      return f.template operator()<Nvfp4>();
    default:
      return f.template operator()<Q4_0>();
  }
}

}  // namespace runnel::cuda
