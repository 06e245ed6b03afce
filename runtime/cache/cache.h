// Cache: everything one sequence remembers. KV pages of the attention layers, rings of the last p =
// B*x columns of the short convolutions, and the token ids they stand for. One owner thread.
//
// Keys and values lie in pages of kPageTokens tokens, all layers together. A fork shares the pages
// of its parent: pages are counted, and a cache copies a page that others hold before it writes to
// it.
//
// Rolling back needs no checkpoints: KV pages are addressed by position, and a short convolution is
// a finite filter, so with KV intact any older conv state is exact after replaying the last n_conv
// * (L-1) tokens (each conv layer's columns are exact L-1 tokens after its input is).
//
// Tiled KV (Value::kv) keeps a window of f16 rows besides: the first tokens and a ring of the
// newest. Tiles are sealed from those rows and a step reads both, so a step can start at a position
// when the ring still holds the rows from kv_sealed_before() on. Rows that are gone cannot be made
// from tiles, which are rounded: a rollback further than the ring reaches goes on from an anchor
// (state.h) before it, or from position 0, with the same bits as if it had never gone further.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "runtime/cache/state.h"

namespace runnel {

class Cache {
 public:
  /// Storage for the states of `graph` on backends which must outlive the cache. Allocates the
  /// rings; pages come as tokens do. ERRORS: out_of_memory.
  static Result<std::unique_ptr<Cache>> create(const Graph& graph,
                                               const StateHomes& homes,
                                               const CacheOptions& options);
  /// What create() and a full context will allocate for these states.
  static CacheBytes bytes(const Graph& graph, std::int64_t capacity);
  /// A cache that remembers the same and goes its own way from here. Shares the pages, copies the
  /// rings. ERRORS: out_of_memory, device_lost.
  Result<std::unique_ptr<Cache>> fork() const { return fork(*this); }
  /// The same with capacity and shift of `like`; the caller truncates what is too much.
  /// REQUIRES: same_states(like); nothing is dropped here, or `like` is this.
  Result<std::unique_ptr<Cache>> fork(const Cache& like) const;
  /// One with the same states that remembers nothing. ERRORS: out_of_memory.
  Result<std::unique_ptr<Cache>> empty_copy() const;
  /// Whether the states are of the same kinds, formats and shapes.
  bool same_states(const Cache& other) const;
  /// Of the first n tokens, those that truncate(n) leaves computed: n when a replay of a few tokens
  /// will do, less when it goes back to an anchor. 0 after a drop.
  std::int64_t keeps(std::int64_t n) const;
  bool reaches(std::int64_t n) const { return keeps(n) == n; }
  /// Remembers rings and windows as they are, so that a later rollback to about here is cheap. No
  /// effect without windows, while tokens are due to be computed again, or out of memory. The
  /// newest kAnchors are kept.
  void place_anchor();
  static constexpr std::size_t kAnchors = 2;
  /// Lets go of pages behind the last token.
  void trim();
  /// What it holds now.
  CacheBytes held() const;
  /// Every block it holds; forks hold some of them, too.
  std::vector<const StateBlock*> blocks() const;

  std::int64_t capacity() const { return options_.capacity; }
  /// Tokens it holds before any is dropped.
  std::int64_t room_undropped() const {
    return options_.shift ? options_.shift->slots : capacity();
  }
  /// Tokens remembered, = position of the next one.
  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  std::span<const TokenId> tokens() const { return tokens_; }

  // Slots (shift.h) are places in the cache; without a shift they are indices and positions, too.
  /// First slot the next step must run from: kv_end(), or earlier when states must be replayed
  /// after a truncate().
  std::int64_t resume_from() const { return resume_from_; }
  /// Slots below have their KV, which a replay must keep (StepParams::kv_keep).
  std::int64_t kv_end() const { return kv_end_; }
  /// Slots below are in sealed tiles (StepParams::kv_sealed); 0 without tiles.
  std::int64_t kv_sealed() const { return sealed_; }
  /// Index of the first token that has no KV: size(), or less while tokens must be computed again.
  std::int64_t next_index() const { return index_of(kv_end_); }
  std::int64_t index_of(std::int64_t slot) const {
    return slot < kept() ? slot : slot + shift_.hole_end - kept();
  }
  /// Of the tokens remembered, those that are not attended any more.
  std::int64_t dropped() const { return shift_.hole_end - kept(); }
  /// Position of a token at or behind resume_from() = slot + gap() (StepParams::kv_gap).
  std::int64_t gap() const { return shift_.gap; }
  /// Prepares a step from resume_from() towards the token at `end_index`: drops tokens when they do
  /// not fit, else reserves. Returns how many tokens the step may have, at most `most`.
  /// ERRORS: as reserve().
  Result<std::int64_t> begin_step(std::int64_t end_index, std::int64_t most);
  /// Another number of first tokens that are never dropped. When that changes what is attended,
  /// tokens are computed again. No effect on a cache without a shift. REQUIRES: room for it.
  void set_kept(std::int64_t n_tokens);
  /// Makes room for slots below `end`, in pages that nobody else holds. While other caches may
  /// share pages, steps and this call must not run at the same time (the Engine's lock).
  /// ERRORS: context_full, out_of_memory, device_lost.
  Status reserve(std::int64_t end);
  /// Records that a step ran slots [first, first + ids.size()), ids included.
  /// REQUIRES: first == resume_from(), ids of remembered tokens equal them.
  void commit(std::int64_t first, std::span<const TokenId> ids);
  /// Forgets all tokens from index n on. When tokens that would be attended then were dropped
  /// meanwhile, what depends on them is computed again. REQUIRES: 0 <= n <= size().
  void truncate(std::int64_t n);
  /// After a step up to `end` that failed or was stopped half-way: the rings are no longer exact,
  /// so the next step starts with a replay.
  void abandon_step(std::int64_t end);
  /// Length of the common prefix of `ids` and the remembered tokens.
  std::int64_t match_prefix(std::span<const TokenId> ids) const;

  // For session files: every state is a list of units of equal size, the same on all backends:
  // pages in order; columns of a convolution, the newest, oldest first; a window as a whole. Those
  // of now, or the rings and windows of an anchor.
  std::size_t n_anchors() const { return anchors_.size(); }
  std::size_t n_states() const { return states_.size(); }
  const StateInfo& state_info(std::size_t state) const { return states_[state].info; }
  std::int64_t n_units(std::size_t state, std::size_t when = kNow) const;
  std::size_t unit_bytes(std::size_t state) const;
  /// Copies a unit; what belongs to no token is zero. ERRORS: device_lost.
  Status read_unit(const UnitId& id, std::span<std::byte> bytes) const;
  Status write_unit(const UnitId& id, std::span<const std::byte> bytes);
  /// Slots that n_tokens tokens take, all of them computed.
  std::int64_t n_slots(std::int64_t n_tokens) const;
  const std::optional<ShiftPlan>& shift_plan() const { return options_.shift; }
  Extent extent(std::size_t when = kNow) const;
  /// Rows that a window holds behind those of the first tokens; 0 without windows.
  std::int64_t window_rows() const { return window_; }
  /// Whether a sequence can go on from that. REQUIRES: extent.slots <= n_slots(tokens).
  bool possible(const Extent& extent) const;
  /// Makes an empty cache one of `tokens` with states to that extent, all to be written with
  /// write_unit(). REQUIRES: nothing was reserved; slots are 0 or n_slots(tokens) and fit;
  /// possible(extent). ERRORS: out_of_memory.
  Status restore(std::span<const TokenId> tokens, const Extent& extent);
  /// After that: another anchor, to be written, too. REQUIRES: possible(extent), not past the end
  /// nor before the last anchor. ERRORS: out_of_memory.
  Status restore_anchor(const Extent& extent);

  /// For Executable::submit; valid until the next reserve().
  StateTable table() const { return {bindings_}; }

 private:
  struct State {
    StateInfo info;
    std::size_t home;    // its backend
    std::size_t bytes;   // of its part of a page, or of its ring
    std::size_t offset;  // in the page, or in the rings, on that backend
    std::vector<std::byte*> host;
    std::vector<Buffer*> buffers;
    std::vector<std::size_t> offsets;
  };
  Cache(StateMemory memory, const CacheOptions& options)
      : memory_(std::move(memory)),
        options_(options),
        page_bytes_(memory_.none()),
        ring_bytes_(memory_.none()) {}
  Status own_page(std::size_t index);
  BufferView unit_view(const UnitId& id) const;
  Anchor point(std::size_t when) const;
  void rebind();
  void plan_resume();
  std::int64_t replay_from(std::int64_t end) const;
  std::int64_t resume_at(std::int64_t end, std::int64_t conv_low, std::int64_t window_low) const;
  const Anchor* anchor_for(std::int64_t end) const;
  void return_to_anchor();
  void clip_anchors();
  /// Slots in tiles once those below `end` are computed.
  std::int64_t sealed_at(std::int64_t end) const {
    return quant::kv_sealed_before(end - 1, options_.kv.recent_tokens());
  }
  void keep_window(const StateInfo& info, const Anchor& at, std::span<std::byte> bytes) const;
  void adopt_state(StateInfo info, std::size_t home, std::size_t bytes);
  Status start();
  std::int64_t kept() const { return options_.shift ? options_.shift->kept : 0; }
  std::int64_t replay_reach() const { return options_.n_conv_layers * (options_.conv_kernel - 1); }
  void apply_shift();
  void start_over(std::int64_t epoch, std::int64_t kv_end);

  StateMemory memory_;
  CacheOptions options_;
  std::int64_t ring_columns_ = 0;
  std::vector<State> states_;
  std::vector<StateBinding> bindings_;
  StateBytes page_bytes_, ring_bytes_;
  std::shared_ptr<StateBlock> rings_;  // null: no state has one
  /// Shared, because forks of a sequence hold the same pages and any of them may go first.
  std::vector<std::shared_ptr<StateBlock>> pages_;
  std::vector<Anchor> anchors_;  // oldest first
  std::vector<TokenId> tokens_;
  Shift shift_;
  std::int64_t kv_end_ = 0, resume_from_ = 0;  // slots
  static constexpr std::int64_t kNoColumns = std::numeric_limits<std::int64_t>::max();
  std::int64_t conv_low_ = 0;  // conv columns of slots [conv_low_, resume_from_) are in the rings
  std::int64_t replay_start_ = 0;
  std::int64_t window_ = 0;      // rows of the ring in a window; 0 without tiles
  std::int64_t window_low_ = 0;  // rows of slots [window_low_, kv_end_) are in that ring
  std::int64_t sealed_ = 0;
};

}  // namespace runnel
