// Cache: everything one sequence remembers. KV pages of the attention layers, rings of the last p =
// B*x columns of the short convolutions, and the token ids they stand for. One owner thread.
//
// Rolling back needs no checkpoints: KV pages are addressed by position, and a short convolution is
// a finite filter, so with KV intact any older conv state is exact after replaying the last n_conv
// * (L-1) tokens (each conv layer's columns are exact L-1 tokens after its input is).
//
// Tiled KV (Value::kv) keeps a window of f16 rows besides: the first tokens and a ring of the
// newest. Tiles are sealed from those rows and a step reads both, so a step can start at a position
// when the ring still holds the rows from kv_sealed_before() on; a rollback further than the ring
// reaches starts over from position 0, which gives the same bits as having never gone further.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "runtime/backend/backend.h"
#include "runtime/graph/graph.h"

namespace runnel {

using TokenId = std::int32_t;

struct CacheOptions {
  std::int64_t capacity = 0;     // tokens
  std::int64_t conv_kernel = 0;  // L; 0 without conv layers
  std::int64_t n_conv_layers = 0;
  std::int64_t kv_recent = 0;  // tiled KV: newest tokens that a token sees in f16
};

/// Bytes a full cache takes.
struct CacheBytes {
  std::size_t kv = 0, conv = 0;  // kv: pages and windows
};

class Cache {
 public:
  /// Storage for the states of `graph` on `backend`. Allocates the rings; pages come as tokens do.
  /// ERRORS: out_of_memory.
  static Result<std::unique_ptr<Cache>> create(const Graph& graph,
                                               Backend& backend,
                                               const CacheOptions& options);
  /// What create() and a full context will allocate for these states.
  static CacheBytes bytes(const Graph& graph, std::int64_t capacity);

  std::int64_t capacity() const { return options_.capacity; }
  /// Tokens remembered, = position of the next one.
  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  std::span<const TokenId> tokens() const { return tokens_; }

  /// First position the next step must run from: size(), or earlier when states must be replayed
  /// after a truncate().
  std::int64_t resume_from() const { return resume_from_; }
  /// Positions below this have their KV, which a replay must keep (StepParams::kv_keep): size(), or
  /// less while tiled KV is computed again from position 0.
  std::int64_t kv_keep() const { return kv_end_; }
  /// Tokens in sealed tiles (StepParams::kv_sealed).
  std::int64_t kv_sealed() const { return sealed_; }
  /// Makes room for positions below `end`. ERRORS: context_full, out_of_memory.
  Status reserve(std::int64_t end);
  /// Records that a step ran positions [first, first + ids.size()), ids included.
  /// REQUIRES: first == resume_from(), replayed ids equal the remembered ones.
  void commit(std::int64_t first, std::span<const TokenId> ids);
  /// Forgets all positions >= n. REQUIRES: 0 <= n <= size().
  void truncate(std::int64_t n);
  /// After a step up to `end` that failed or was stopped half-way: the rings are no longer exact,
  /// so the next step starts with a replay.
  void abandon_step(std::int64_t end);
  /// Length of the common prefix of `ids` and the remembered tokens.
  std::int64_t match_prefix(std::span<const TokenId> ids) const;

  /// For Executable::submit; valid until the next reserve().
  StateTable table() const { return {bindings_}; }

 private:
  struct State {
    StateKind kind;
    std::size_t page_bytes;  // of a KV page, or of the whole ring
    std::vector<std::byte*> host;
    std::vector<Buffer*> buffers;
    std::vector<std::size_t> offsets;
  };
  Cache(Backend& backend, const CacheOptions& options) : backend_(backend), options_(options) {}
  void add_page(State& state, Buffer& slab, std::size_t& offset);
  void rebind();
  void plan_resume();
  bool window_reaches(std::int64_t position) const;

  Backend& backend_;
  CacheOptions options_;
  std::int64_t ring_columns_ = 0;
  std::vector<State> states_;
  std::vector<StateBinding> bindings_;
  std::vector<std::unique_ptr<Buffer>> slabs_;
  std::int64_t n_pages_ = 0;  // per KV state
  std::vector<TokenId> tokens_;
  std::int64_t resume_from_ = 0;
  static constexpr std::int64_t kNoColumns = std::numeric_limits<std::int64_t>::max();
  std::int64_t conv_low_ = 0;  // conv columns [conv_low_, resume_from_) are in the rings, exact
  std::int64_t replay_start_ = 0;
  std::int64_t kv_end_ = 0;      // KV of positions below is there
  std::int64_t window_ = 0;      // slots of the ring of recent rows; 0 without tiles
  std::int64_t window_low_ = 0;  // rows [window_low_, kv_end_) are in that ring
  std::int64_t sealed_ = 0;
};

}  // namespace runnel
