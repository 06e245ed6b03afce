// embed: out[t] = table[ids[t]], decoded to f32; one block per token.
#include <cuda_bf16.h>

#include "backends/cuda/formats/formats.cuh"
#include "backends/cuda/kernels/device.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 256;

struct EmbedArgs {
  const std::uint8_t* table;
  PlaneOffsets planes;
  const std::int32_t* ids;
  float* out;
  int n_rows, cols;
  Rows rows;
};

__device__ float as_f32(float x) {
  return x;
}
__device__ float as_f32(__half x) {
  return __half2float(x);
}
__device__ float as_f32(__nv_bfloat16 x) {
  return __bfloat162float(x);
}

/// The token's id, or -1 when there is none.
__device__ int checked_id(const EmbedArgs& a, const StepData* step) {
  const int t = blockIdx.x;
  if (t >= rows_in_use(a.rows, step)) return -1;
  const int id = a.ids[t];
  if (id >= 0 && id < a.n_rows) return id;
  if (threadIdx.x == 0) *step->failure = static_cast<std::int32_t>(Failure::token_id);
  return -1;
}

template <class T>
__global__ void embed_plain(EmbedArgs a, const StepData* step) {
  begin_step();
  const int id = checked_id(a, step);
  if (id < 0) return;
  const T* row = reinterpret_cast<const T*>(a.table) + std::int64_t{id} * a.cols;
  float* out = a.out + std::int64_t{blockIdx.x} * a.cols;
  for (int i = threadIdx.x; i < a.cols; i += kThreads) out[i] = as_f32(row[i]);
}

template <class Format>
__global__ void embed_packed(EmbedArgs a, const StepData* step) {
  begin_step();
  const int id = checked_id(a, step);
  if (id < 0) return;
  Planes planes;
  for (int i = 0; i < kPlanes; ++i) planes.at[i] = a.table + a.planes.at[i];
  const int units = a.cols / kUnit;
  for (int j = threadIdx.x; j < units; j += kThreads) {
    const Unit u = Format::decode(Format::load(planes, std::int64_t{id} * units + j));
    float* out = a.out + std::int64_t{blockIdx.x} * a.cols + j * kUnit;
    for (int k = 0; k < 8; ++k)
      for (int i = 0; i < 4; ++i) {
        const auto code = static_cast<std::int8_t>(u.code[k] >> (8 * i));
        out[4 * k + i] = u.d[k / 4] * static_cast<float>(code) + u.m[k / 4];
      }
  }
}

}  // namespace

cudaError_t embed(const Step& step, const Launch& launch) {
  const Operand &table = step.in[0], &ids = step.in[1];
  const EmbedArgs args{reinterpret_cast<const std::uint8_t*>(table.data),
                       plane_offsets(table.dtype, table.shape.elems()),
                       ids.ids(),
                       step.out[0].f32(),
                       static_cast<int>(table.shape[0]),
                       table.cols(),
                       ids.used()};
  const auto run = [&](void (*kernel)(EmbedArgs, const StepData*)) {
    return start(launch, kernel, grid_of(step.out[0].rows()), kThreads, 0, args, launch.step);
  };
  if (table.dtype == DType::f32) return run(embed_plain<float>);
  if (table.dtype == DType::f16) return run(embed_plain<__half>);
  if (table.dtype == DType::bf16) return run(embed_plain<__nv_bfloat16>);
  return with_format(table.dtype, [&]<class Format>() { return run(embed_packed<Format>); });
}

}  // namespace runnel::cuda
