// kv_seal: encodes tiles of 16 tokens from their f16 rows. One block per (tile, head and part, K or
// V); 16 threads per vector of 64, in the order of operations of quant/kv_search.cc and
// quant/kv_kt8.cc, so that the bits are the same.
#include "backends/cuda/kernels/kv_rows.cuh"

namespace runnel::cuda {
namespace {

constexpr int kThreads = 256;
constexpr float kLargest = 65504.0f;

struct SealArgs {
  KvWindow rows[2];
  int state[2], window_state;
  quant::KvFormat format[2];
  int heads, parts, sinks, recent;
};

/// Sum of 16 lanes by halves; the same in each of them.
__device__ float sum_16(float x) {
  for (int i = 8; i > 0; i /= 2) x = __fadd_rn(x, __shfl_xor_sync(kAllLanes, x, i));
  return x;
}

struct Fit {
  int index[4];
  float products, squares;
};

__device__ Fit fit(const float (&size)[4], const TileLevels& levels, float step) {
  Fit result{};
  float products = 0;
  int squares = 0;
  for (int i = 0; i < 4; ++i) {
    const float at = __fmul_rn(size[i], step);
    int index = 0;
    for (int l = 0; l + 1 < 8; ++l)
      if (l + 1 < levels.n)
        index += at >= 0.5f * static_cast<float>(levels.level[l] + levels.level[l + 1]);
    int level = 0;
#pragma unroll
    for (int l = 0; l < 8; ++l)
      if (l == index) level = levels.level[l];
    result.index[i] = index;
    products = __fadd_rn(products, __fmul_rn(static_cast<float>(level), size[i]));
    squares += level * level;
  }
  result.products = sum_16(products);
  for (int i = 8; i > 0; i /= 2) squares += __shfl_xor_sync(kAllLanes, squares, i);
  result.squares = static_cast<float>(squares);
  return result;
}

/// Codes of this thread's values 16 i + lane, and the vector's scale.
__device__ __half encode_levels(const float (&x)[4], quant::KvFormat format, int (&code)[4]) {
  constexpr float kSpreads[] = {0.76f, 0.86f, 0.96f, 1.06f, 1.18f, 1.34f};
  const TileLevels levels = tile_levels(format);
  float size[4], squares = 0;
  for (int i = 0; i < 4; ++i) {
    const float magnitude = fabsf(x[i]);
    size[i] = magnitude < kLargest ? magnitude : kLargest;
    squares = __fadd_rn(squares, __fmul_rn(size[i], size[i]));
  }
  const float rms = __fsqrt_rn(__fdiv_rn(sum_16(squares), 64.0f));
  Fit best{};
  best.squares = 1.0f;
  float most = -1.0f;
  for (const float spread : kSpreads) {
    const float step = __fdiv_rn(127.0f, __fmul_rn(levels.unit, __fmul_rn(rms, spread)));
    const Fit tried = fit(size, levels, rms > 0.0f ? step : 0.0f);
    const float gain = __fdiv_rn(__fmul_rn(tried.products, tried.products), tried.squares);
    if (rms > 0.0f && gain > most) {
      most = gain;
      best = tried;
    }
  }
  for (int i = 0; i < 4; ++i)
    code[i] = x[i] < 0.0f ? levels.n - 1 - best.index[i] : levels.n + best.index[i];
  return __float2half_rn(fminf(__fdiv_rn(best.products, best.squares), kLargest));
}

__device__ __half encode_bytes(const float (&x)[4], int (&code)[4]) {
  float finite[4], most = 0;
  for (int i = 0; i < 4; ++i) {
    const float above = x[i] > -kLargest ? x[i] : -kLargest;
    finite[i] = above < kLargest ? above : kLargest;
    most = fmaxf(most, fabsf(finite[i]));
  }
  for (int i = 8; i > 0; i /= 2) most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, i));
  const __half scale = __float2half_rn(__fdiv_rn(most, 127.0f));
  const float value = __half2float(scale);
  const float inverse = value > 0.0f ? __fdiv_rn(1.0f, value) : 0.0f;
  for (int i = 0; i < 4; ++i)
    code[i] = static_cast<int>(fminf(fmaxf(rintf(__fmul_rn(finite[i], inverse)), -127.0f), 127.0f));
  return scale;
}

/// Byte number `at` of a tile's codes.
__device__ std::uint8_t packed_byte(const std::uint8_t* code, quant::KvFormat format, int at) {
  const int chunk = at / 64, b = at % 64;
  int byte = 0;
  if (format == quant::KvFormat::kt8) return code[at];
  if (format == quant::KvFormat::kt4) {
    byte = code[128 * chunk + b] | code[128 * chunk + 64 + b] << 4;
  } else if (at < 256) {
    for (int p = 0; p < 4; ++p) byte |= (code[64 * (4 * chunk + p) + b] & 3) << (2 * p);
  } else {
    for (int p = 0; p < 8; ++p) byte |= (code[64 * (8 * (chunk - 4) + p) + b] >> 2 & 1) << p;
  }
  return static_cast<std::uint8_t>(byte);
}

__global__ void seal_kernel(SealArgs a, const StepData* step) {
  __shared__ std::uint8_t codes[1024];
  begin_step();
  const int last = kv_position(step) + step->n_tokens - 1;
  const int first = max(step->kv_sealed - step->kv_gap, a.sinks);
  const int end = sealed_before(last, a.recent);
  const int half = blockIdx.z, head = blockIdx.y / a.parts, part = blockIdx.y % a.parts;
  KvWindow& rows = a.rows[half];
  rows.begin(step, a.window_state);
  const int token = threadIdx.x / 16, lane = threadIdx.x % 16;
  const quant::KvFormat format = a.format[half];
  for (int place = first + static_cast<int>(blockIdx.x) * kTile; place < end;
       place += static_cast<int>(gridDim.x) * kTile) {
    float x[4];
    int code[4];
    for (int i = 0; i < 4; ++i) x[i] = rows.value(place + token, head, part * 64 + 16 * i + lane);
    const __half scale =
        format == quant::KvFormat::kt8 ? encode_bytes(x, code) : encode_levels(x, format, code);
    for (int i = 0; i < 4; ++i)
      codes[tile_place(half == 0, token, 16 * i + lane)] = static_cast<std::uint8_t>(code[i]);
    __syncthreads();
    const TilePart to =
        tile_part(pages_of(step, a.state[half]), format, place, head, part, a.parts);
    if (lane == 0) const_cast<__half*>(to.scales)[token] = scale;
    for (int at = threadIdx.x; at < tile_bytes(format); at += kThreads)
      const_cast<std::uint8_t*>(to.codes)[at] = packed_byte(codes, format, at);
    __syncthreads();
  }
}

}  // namespace

cudaError_t kv_seal(const Step& step, const Launch& launch) {
  const Operand &k = step.in[0], &tiles = step.in[2], &window = step.in[4];
  const auto& attr = step.attr_as<KvWindowAttr>();
  SealArgs args{};
  for (int half = 0; half < 2; ++half) {
    KvWindow& rows = args.rows[half];
    rows.rows = step.in[static_cast<std::size_t>(half)].f32();
    rows.heads = static_cast<int>(window.shape[0] / 2);
    rows.slots = static_cast<int>(window.shape[1]);
    rows.dh = window.cols();
    rows.sinks = attr.sinks;
    rows.half = half;
    args.state[half] = step.in[static_cast<std::size_t>(2 + half)].state_index;
    args.format[half] = step.in[static_cast<std::size_t>(2 + half)].kv;
  }
  args.window_state = window.state_index;
  args.heads = static_cast<int>(tiles.shape[0]);
  args.parts = tiles.cols() / quant::kKvChannels;
  args.sinks = attr.sinks;
  args.recent = attr.recent;
  // Not sealed yet are at most what the window holds and the step brings; one token brings one tile.
  const std::int64_t tiles_left = ceil_div(window.shape[1] + k.rows(), kTile) + 1;
  return start(launch, seal_kernel,
               grid_of(k.rows() == 1 ? 1 : tiles_left, args.heads * args.parts, 2), kThreads, 0,
               args, launch.step);
}

}  // namespace runnel::cuda
