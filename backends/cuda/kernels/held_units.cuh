// How units of weights lie in shared memory for the lanes that multiply them: a warp's next to each
// other, copied and read by the same lane.
#pragma once
#include "backends/cuda/kernels/held_rows.cuh"
#include "backends/cuda/kernels/mma.cuh"

namespace runnel::cuda {
namespace {

/// Copies 4, 8 or 16 bytes into shared memory.
template <int bytes>
__device__ void copy_few(void* to, const void* from) {
#if __CUDA_ARCH__ >= 800
  if constexpr (bytes == 16)
    copy_16(to, from);
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(shared_address(to)), "l"(from),
                 "n"(bytes)
                 : "memory");
#endif
}

/// Where a lane keeps its pieces of 16 (8), 8 and 4 bytes in a step.
struct Cells {
  std::byte *codes, *eights, *words;
  __device__ Cells operator+(int bytes) const {
    return {codes + bytes, eights + bytes, words + bytes};
  }
};

/// How a type is held: values of a unit, and its bytes for all lanes of a warp, fields of the same
/// plane next to each other. Fields of less than four bytes are in the word around them.
template <class Format>
struct Held {
  static constexpr PackedInfo kInfo = packed_info(Format::kType);
  static constexpr int kValues = kUnit, kCodes = kInfo.codes;
  static constexpr int kExtra = 32 * kInfo.codes;
  static constexpr int kScales = kExtra + 32 * kInfo.extra;
  static constexpr int kHeads = kScales + (kInfo.scales > 0 ? 128 : 0);
  static constexpr int kBytes = kHeads + (kInfo.heads > 0 ? 128 : 0);
  using XPart = XUnit;

  /// One lane's unit, as formats read it.
  struct Cell {
    Cells at;
    template <class T>
    __device__ T load(int plane, std::int64_t index) const {
      constexpr int size = sizeof(T);
      if (plane == 0) return *reinterpret_cast<const T*>(at.codes);
      if (plane == 1 && size == 8) return *reinterpret_cast<const T*>(at.eights + kExtra);
      const int first = plane == 1 ? kExtra : plane == 2 ? kScales : kHeads;
      const int within = size < 4 ? static_cast<int>(index) * size & 3 : 0;
      return *reinterpret_cast<const T*>(at.words + first + within);
    }
  };

  /// Unit `unit` of the matrix, where the row has `left` units from that of sub = 0 on.
  static __device__ void copy(const Cells& to,
                              const Planes& from,
                              int unit,
                              const Share& share,
                              int left) {
    if (share.sub >= left) return;
    copy_few<kInfo.codes>(to.codes, from.at[0] + std::int64_t{unit} * kInfo.codes);
    if constexpr (kInfo.extra > 0)
      copy_few<kInfo.extra>((kInfo.extra == 8 ? to.eights : to.words) + kExtra,
                            from.at[1] + std::int64_t{unit} * kInfo.extra);
    if constexpr (kInfo.scales > 0)
      copy_few<4>(to.words + kScales, from.at[2] + word_of<kInfo.scales>(unit));
    if constexpr (kInfo.heads > 0)
      copy_few<4>(to.words + kHeads, from.at[3] + word_of<kInfo.heads>(unit / 8));
  }
  /// Where the word around field i begins, for fields of so many bytes.
  template <int bytes>
  static __device__ std::int64_t word_of(int i) {
    constexpr int kFields = 4 / bytes;
    return std::int64_t{i & -kFields} * bytes;
  }
  static __device__ XUnit load_x(const ByteX<1>& x, int u) { return x.unit(0, u); }
  static __device__ void add(const Cells& at, int unit, const XUnit& x, float& sum) {
    add_unit<Format>(Format::load(Cell{at}, unit), x, sum);
  }
};

/// Half a unit, as in dot_halves().
template <>
struct Held<Q8_0> {
  static constexpr int kValues = kUnit / 2, kCodes = 16, kScales = 512, kBytes = kScales + 128;
  struct XPart {
    uint4 bytes;
    float scale;
  };
  static __device__ void copy(const Cells& to,
                              const Planes& from,
                              int unit,
                              const Share& share,
                              int left) {
    if (share.sub >= left) return;
    copy_few<16>(to.codes, from.at[0] + std::int64_t{unit} * 16);
    copy_few<4>(to.words + kScales, from.at[2] + std::int64_t{unit / 4} * 4);
  }
  static __device__ XPart load_x(const ByteX<1>& x, int u) {
    return {x.half(0, u / 2, u % 2), x.scales(0)[u / 2]};
  }
  static __device__ void add(const Cells& at, int unit, const XPart& x, float& sum) {
    const auto* scales = reinterpret_cast<const __half*>(at.words + kScales);
    add_half(*reinterpret_cast<const uint4*>(at.codes), __half2float(scales[unit / 2 % 2]), x.bytes,
             x.scale, sum);
  }
};

template <class T>
struct HeldPlain {
  static constexpr int kValues = 8, kBytes = 512, kCodes = 16;
  struct XPart {
    float4 first, last;
  };
  static __device__ void copy(const Cells& to,
                              const Planes& from,
                              int unit,
                              const Share& share,
                              int left) {
    if (share.sub < left) copy_few<16>(to.codes, from.at[0] + std::int64_t{unit} * 16);
  }
  static __device__ XPart load_x(const FloatX<1>& x, int u) {
    return {x.four(0, 2 * u), x.four(0, 2 * u + 1)};
  }
  static __device__ void add(const Cells& at, int, const XPart& x, float& sum) {
    add_raw_held<T>(*reinterpret_cast<const uint4*>(at.codes), x.first, x.last, sum);
  }
};
template <>
struct Held<PlainF16> : HeldPlain<__half> {};
template <>
struct Held<PlainBf16> : HeldPlain<__nv_bfloat16> {};

}  // namespace
}  // namespace runnel::cuda
