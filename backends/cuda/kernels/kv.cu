// kv_append: rows of a step into pages. kv_window: the newest rows and the sinks beside tiles.
// Both copy; bound by memory.
#include "backends/cuda/kernels/kv_rows.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 128;

__device__ void put(float* to, float x) {
  *to = x;
}
__device__ void put(__half* to, float x) {
  *to = __float2half_rn(x);
}

template <class T>
__global__ void append_kernel(const float* k,
                              const float* v,
                              int k_state,
                              int v_state,
                              int heads,
                              int dh,
                              const StepData* step) {
  begin_step();
  const int t = blockIdx.x, place = kv_position(step) + t;
  if (t >= step->n_tokens || place < step->kv_keep - step->kv_gap) return;
  std::byte* const* k_pages = pages_of(step, k_state);
  std::byte* const* v_pages = pages_of(step, v_state);
  const int cols = heads * dh;
  for (int c = threadIdx.x; c < cols; c += kThreads) {
    put(page_row<T>(k_pages, place, c / dh, dh) + c % dh, k[std::int64_t{t} * cols + c]);
    put(page_row<T>(v_pages, place, c / dh, dh) + c % dh, v[std::int64_t{t} * cols + c]);
  }
}

__global__ void window_kernel(KvWindow k, KvWindow v, int state, const StepData* step) {
  begin_step();
  k.begin(step, state);
  v.begin(step, state);
  const int place = k.pos + static_cast<int>(blockIdx.x), end = k.pos + step->n_tokens;
  const int ring = k.slots - quant::kKvSinkTokens;
  if (place >= end || place < k.split) return;
  if (place >= k.sinks && place < end - ring) return;  // overwritten by later ones
  for (int c = threadIdx.x; c < k.heads * k.dh; c += kThreads) {
    const int head = c / k.dh, d = c % k.dh;
    k.slot(place, head)[d] = __float2half_rn(k.value(place, head, d));
    v.slot(place, head)[d] = __float2half_rn(v.value(place, head, d));
  }
}

}  // namespace

cudaError_t kv_append(const Step& step, const Launch& launch) {
  const Operand &k = step.in[0], &state = step.in[2];
  const auto run = [&](auto kernel) {
    return start(launch, kernel, grid_of(k.rows()), kThreads, 0, k.f32(), step.in[1].f32(),
                 state.state_index, step.in[3].state_index, static_cast<int>(state.shape[0]),
                 state.cols(), launch.step);
  };
  return state.dtype == DType::f16 ? run(append_kernel<__half>) : run(append_kernel<float>);
}

cudaError_t kv_window(const Step& step, const Launch& launch) {
  const Operand &k = step.in[0], &window = step.in[2];
  KvWindow rows{};
  rows.rows = k.f32();
  rows.heads = static_cast<int>(window.shape[0] / 2);
  rows.slots = static_cast<int>(window.shape[1]);
  rows.dh = window.cols();
  rows.sinks = step.attr_as<KvWindowAttr>().sinks;
  KvWindow values = rows;
  values.rows = step.in[1].f32();
  values.half = 1;
  return start(launch, window_kernel, grid_of(k.rows()), kThreads, 0, rows, values,
               window.state_index, launch.step);
}

}  // namespace runnel::cuda
