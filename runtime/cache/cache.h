// Cache: everything one sequence remembers. KV pages of the attention layers, rings of the last p =
// B*x columns of the short convolutions, and the token ids they stand for. One owner thread.
//
// Rolling back needs no checkpoints: KV pages are addressed by position, and a short convolution is
// a finite filter, so with KV intact any older conv state is exact after replaying the last n_conv
// * (L-1) tokens (each conv layer's columns are exact L-1 tokens after its input is).
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
};

/// Bytes a full cache takes.
struct CacheBytes {
  std::size_t kv = 0, conv = 0;
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

  /// First position the next step must run from: size(), or earlier when the conv state must be
  /// replayed after a truncate(). Rows before size() must keep their KV (StepParams::kv_keep).
  std::int64_t resume_from() const { return resume_from_; }
  /// Makes room for positions below `end`. ERRORS: context_full, out_of_memory.
  Status reserve(std::int64_t end);
  /// Records that a step ran positions [first, first + ids.size()), ids included.
  /// REQUIRES: first == resume_from(), replayed ids equal the remembered ones.
  void commit(std::int64_t first, std::span<const TokenId> ids);
  /// Forgets all positions >= n. REQUIRES: 0 <= n <= size().
  void truncate(std::int64_t n);
  /// After a step that failed or was stopped half-way: the rings are no longer exact, so the next
  /// step starts with a replay.
  void abandon_step();
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
  void plan_replay();

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
  std::int64_t conv_low_ = 0;  // conv columns [conv_low_, size()) are in the rings, exact
  std::int64_t replay_start_ = 0;
};

}  // namespace runnel
