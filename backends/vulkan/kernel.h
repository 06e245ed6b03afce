// What a kernel row makes of a node: a few dispatches, as plain data. A shader sees
//   set 0: the operands of the dispatch, binding i = operands[i];
//   set 1: the step (lib/step.glsl): parameters, page tables, blocks that hold states, status;
//   push constants: sizes and attributes, in the shader's order;
//   specialisation constants: 0 = threads of a workgroup, then the shader's own.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "backends/vulkan/device.h"
#include "runtime/backend/buffer.h"
#include "runtime/backend/step.h"
#include "runtime/graph/graph.h"

namespace runnel::vulkan {

enum class Access : std::uint8_t { read, write, both };

/// A binding of a dispatch.
struct Operand {
  enum class Source : std::uint8_t {
    value,    // memory of the plan
    scratch,  // of the executable: bytes [offset, offset + size), another node's afterwards
    kept,     // the same, but for the whole segment
    constant  // `words`, uploaded once
  } source = Source::value;
  BufferView view;                   // value
  std::size_t offset = 0, size = 0;  // scratch, kept
  std::vector<std::uint32_t> words;  // constant
  Access access = Access::read;
};

/// A state that a dispatch touches; shaders find it by its index.
struct StateUse {
  std::int32_t index;
  Access access;
};

/// Workgroups along one axis: ceil((fixed + per_token * n_tokens) / divisor), or, along the keys of
/// an attention, one per span of a chunked softmax (attention_span()).
struct Extent {
  std::uint32_t fixed = 1, per_token = 0, divisor = 1;
  bool kv_spans = false;
};

struct Dispatch {
  std::string shader;
  std::vector<std::uint32_t> constants;  // constant_id 0, 1, ...
  std::vector<Operand> operands;
  std::vector<StateUse> states;
  std::vector<std::uint32_t> push;
  std::array<Extent, 3> grid;
};

/// A node ready to be recorded.
struct Step {
  std::vector<Dispatch> dispatches;
  std::size_t scratch_bytes = 0;
  /// Pages that must be there: KV up to the step's last token, or (>= 0) up to what a token with so
  /// many recent rows sees as tiles.
  static constexpr std::int32_t kNoPages = -2, kAllPages = -1;
  std::int32_t recent = kNoPages;
};

/// Keys that one workgroup of a split attention looks at. A function of the token's place alone, so
/// that results do not depend on how a sequence is cut into steps.
constexpr std::int64_t kMaxSpans = 32;
constexpr std::int64_t attention_span(std::int64_t place) {
  std::int64_t span = 64;
  while ((place + span) / span > kMaxSpans) span *= 2;
  return span;
}

inline std::uint32_t bits(float x) {
  return std::bit_cast<std::uint32_t>(x);
}

}  // namespace runnel::vulkan
