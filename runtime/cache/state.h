// What a cache is made of, in words that its users share: options, sizes, states.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "runtime/cache/shift.h"
#include "runtime/cache/state_memory.h"
#include "runtime/graph/graph.h"

namespace runnel {

using TokenId = std::int32_t;

struct CacheOptions {
  std::int64_t capacity = 0;     // tokens
  std::int64_t conv_kernel = 0;  // L; 0 without conv layers
  std::int64_t n_conv_layers = 0;
  std::optional<ShiftPlan> shift = {};  // none: a full cache is an error
  quant::KvPolicy kv = {};
};

/// Bytes of a cache: all that a full one takes, or what one holds now.
struct CacheBytes {
  std::size_t kv = 0, conv = 0;  // kv: pages and windows
  std::size_t shared = 0;        // of kv: in pages that other caches hold, too
};

/// One state of the sequence, as session files describe it.
struct StateInfo {
  StateKind kind = StateKind::none;
  DType dtype = DType::f32;
  Shape shape;
  quant::KvFormat tiles = quant::KvFormat::plain;  // of pages
  std::string format;                              // what its bytes mean, at most 16 characters
  bool operator==(const StateInfo&) const = default;
};

inline Status context_full(std::int64_t n_tokens, std::int64_t capacity) {
  return Status(Code::context_full, std::to_string(n_tokens) + " tokens do not fit a context of " +
                                        std::to_string(capacity));
}

/// How much of a sequence the states hold, as session files store it.
struct Extent {
  std::int64_t slots = 0;    // with KV; 0: all is computed again
  std::int64_t columns = 0;  // newest ones, of the convolutions; 0: a replay is due
  std::int64_t rows = 0;     // newest ones, in windows; 0 without windows
};

/// What session files hold: the sequence as it is now, or an anchor (0: the oldest).
inline constexpr std::size_t kNow = std::numeric_limits<std::size_t>::max();

/// One unit of a state, for session files.
struct UnitId {
  std::size_t state = 0;
  std::int64_t unit = 0;
  std::size_t when = kNow;
};

/// A copy of rings and windows as they were when KV ended at `end`, shared by forks.
struct Anchor {
  std::shared_ptr<StateBlock> rings;
  std::int64_t end = 0, conv_low = 0, window_low = 0;  // slots
};

}  // namespace runnel
