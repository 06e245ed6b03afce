// What a GGUF file may contain at most. Limits are checked before memory is taken; everything else
// is bounded by the bytes that the file really has.
#pragma once
#include <cstddef>
#include <cstdint>

namespace runnel::gguf_limits {

inline constexpr std::uint64_t kMaxKeys = 1 << 16;        // real files: about 50
inline constexpr std::uint64_t kMaxTensors = 1 << 16;     // over all shards; real files: < 2000
inline constexpr std::uint64_t kMaxKeyBytes = 65535;      // SOURCE: GGUF specification
inline constexpr std::uint64_t kMaxTensorNameBytes = 64;  // SOURCE: GGUF specification
inline constexpr std::size_t kMaxWrittenNameBytes = 63;   // some readers store a closing zero too
inline constexpr std::uint64_t kMaxArrayElems = 1 << 24;  // real files: vocabularies < 300 000
inline constexpr int kMaxArrayDepth = 4;                  // arrays in arrays; real files: 1
inline constexpr std::uint64_t kDefaultAlignment = 32;    // SOURCE: GGUF specification
inline constexpr std::uint64_t kMinAlignment = 8;         // SOURCE: GGUF specification
inline constexpr std::uint64_t kMaxAlignment = 1 << 15;   // anything above is an attack
inline constexpr int kMaxShards = 1024;                   // files of a split model
inline constexpr std::uint32_t kMinVersion = 2;           // version 1 had 32-bit counts
inline constexpr std::uint32_t kMaxVersion = 3;           // written by GgufWriter

}  // namespace runnel::gguf_limits
