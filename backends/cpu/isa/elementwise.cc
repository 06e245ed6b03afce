// Row operations: conversions, add, swiglu, rms_norm, rotation, argmax, short convolution. Bound by
// memory; a value's result does not depend on its place in the row or on the row's neighbours.
#include "backends/cpu/isa/functions.h"

namespace runnel::cpu::RUNNEL_ISA {

void from_f16(const void* src, float* dst, int64_t n) {
  const auto* half = static_cast<const uint16_t*>(src);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(dst + i, load_f16(half + i));
  for (; i < n; ++i) dst[i] = f16_value(reinterpret_cast<const uint8_t*>(half + i));
}

void from_bf16(const void* src, float* dst, int64_t n) {
  const auto* half = static_cast<const uint16_t*>(src);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(dst + i, load_bf16(half + i));
  for (; i < n; ++i) {
    const uint32_t bits = static_cast<uint32_t>(half[i]) << 16;
    memcpy(dst + i, &bits, sizeof bits);
  }
}

void to_f16(const float* src, void* dst, int64_t n) {
  auto* half = static_cast<uint16_t*>(dst);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store_f16(half + i, load(src + i));
  if (i == n) return;
  uint16_t last[kLanes];
  store_f16(last, load_first(src + i, n - i));
  memcpy(half + i, last, static_cast<size_t>(n - i) * sizeof(uint16_t));
}

// NaN stays one.
void to_bf16(const float* src, void* dst, int64_t n) {
  auto* half = static_cast<uint16_t*>(dst);
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    memcpy(&bits, src + i, sizeof bits);
    const uint32_t rounded = (bits + 0x7FFFu + (bits >> 16 & 1)) >> 16;
    half[i] = static_cast<uint16_t>(src[i] == src[i] ? rounded : bits >> 16 | 0x40u);
  }
}

void add_rows(float* out, const float* a, const float* b, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, add(load(a + i), load(b + i)));
  for (; i < n; ++i) out[i] = a[i] + b[i];
}

namespace {

// out: N registers of silu(gate) * up. out may be gate or up.
template <int N>
inline void gated(const F* gate, const F* up, F* out) {
  F power[N];
  for (int i = 0; i < N; ++i) power[i] = sub(zero(), gate[i]);
  exponentials<N>(power, power);
  for (int i = 0; i < N; ++i) out[i] = mul(div(gate[i], add(set1(1.0f), power[i])), up[i]);
}
template <int N>
inline void gated_rows(float* out, const float* gate, const float* up) {
  F g[N], u[N];
  for (int i = 0; i < N; ++i) {
    g[i] = load(gate + i * kLanes);
    u[i] = load(up + i * kLanes);
  }
  gated<N>(g, u, g);
  for (int i = 0; i < N; ++i) store(out + i * kLanes, g[i]);
}

constexpr int kSideBySide = 4;

inline float sum_of_squares(const float* x, int64_t n) {
  F acc[4] = {zero(), zero(), zero(), zero()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
    for (int j = 0; j < 4; ++j) {
      const F v = load(x + i + j * kLanes);
      acc[j] = fma(v, v, acc[j]);
    }
  for (; i + kLanes <= n; i += kLanes) acc[0] = fma(load(x + i), load(x + i), acc[0]);
  float total = sum(add(add(acc[0], acc[1]), add(acc[2], acc[3])));
  for (; i < n; ++i) total += x[i] * x[i];
  return total;
}

}  // namespace

void swiglu(float* out, const float* gate, const float* up, int64_t n) {
  int64_t i = 0;
  for (; i + kSideBySide * kLanes <= n; i += kSideBySide * kLanes)
    gated_rows<kSideBySide>(out + i, gate + i, up + i);
  for (; i + kLanes <= n; i += kLanes) gated_rows<1>(out + i, gate + i, up + i);
  if (i == n) return;
  F last = load_first(gate + i, n - i);
  const F up_last = load_first(up + i, n - i);
  gated<1>(&last, &up_last, &last);
  store_first(out + i, last, n - i);
}

void rms_norm(float* out, const float* x, const float* weight, int64_t n, float eps) {
  const float mean = sum_of_squares(x, n) / static_cast<float>(n);
  const float factor = 1.0f / sqrtf(mean + eps);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    store(out + i, mul(mul(load(x + i), set1(factor)), load(weight + i)));
  for (; i < n; ++i) out[i] = x[i] * factor * weight[i];
}

void rotate_half(float* out, const float* x, const float* cos_sin, int64_t n_pairs) {
  const float *cosine = cos_sin, *sine = cos_sin + n_pairs;
  int64_t i = 0;
  for (; i + kLanes <= n_pairs; i += kLanes) {
    const F a = load(x + i), b = load(x + n_pairs + i), c = load(cosine + i), s = load(sine + i);
    store(out + i, sub(mul(a, c), mul(b, s)));
    store(out + n_pairs + i, add(mul(b, c), mul(a, s)));
  }
  for (; i < n_pairs; ++i) {
    const float a = x[i], b = x[n_pairs + i];
    out[i] = a * cosine[i] - b * sine[i];
    out[n_pairs + i] = b * cosine[i] + a * sine[i];
  }
}

void multiply_add(float* out, const float* x, float factor, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    store(out + i, add(load(out + i), mul(load(x + i), set1(factor))));
  for (; i < n; ++i) out[i] += x[i] * factor;
}

int64_t argmax(const float* x, int64_t n) {
  // First the largest value, then where it stands first. max() passes NaN over on its left.
  float best = x[0];
  if (!(best == best)) return 0;  // nothing is larger than NaN
  int64_t i = 0;
  if (n >= kLanes) {
    F most = set1(best);
    for (; i + kLanes <= n; i += kLanes) most = max(load(x + i), most);
    best = largest(most);
  }
  for (; i < n; ++i) best = x[i] > best ? x[i] : best;
  for (i = 0; i < n; ++i)
    if (x[i] == best) return i;
  return 0;
}

void short_conv(const ConvTask& task) {
  const int64_t d = task.d, taps = task.taps;
  for (int64_t t = 0; t < task.n_tokens; ++t) {
    const float *b = task.bcx + t * 3 * d, *c = b + d, *x = c + d;
    float* out = task.out + t * d;
    float* newest = task.ring + (task.pos + t) % task.ring_columns * d;
    const int64_t oldest = task.pos + t - (taps - 1);
    for (int64_t i = task.first; i < task.last; ++i) out[i] = task.bias ? task.bias[i] : 0.0f;
    for (int64_t k = oldest < 0 ? -oldest : 0; k + 1 < taps; ++k) {
      const float* p = task.ring + (oldest + k) % task.ring_columns * d;
      for (int64_t i = task.first; i < task.last; ++i) out[i] += task.filter[i * taps + k] * p[i];
    }
    // The ring may hold only taps - 1 columns: the newest replaces the oldest after its last use.
    for (int64_t i = task.first; i < task.last; ++i) {
      const float p = b[i] * x[i];
      newest[i] = p;
      out[i] = c[i] * (out[i] + task.filter[i * taps + taps - 1] * p);
    }
  }
}

}  // namespace runnel::cpu::RUNNEL_ISA
