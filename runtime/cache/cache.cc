#include "runtime/cache/cache.h"

#include <algorithm>

#include "runtime/base/checked.h"

namespace runnel {
namespace {

std::int64_t pages_for(std::int64_t tokens) {
  return (tokens + kPageTokens - 1) / kPageTokens;
}

std::string format_of(const Value& value, const CacheOptions& options) {
  if (value.state == StateKind::kv_summary) {  // what was read decides what was computed
    const quant::KvSparse& sparse = options.kv.sparse;
    return std::to_string(sparse.from) + "/" + std::to_string(sparse.pages) +
           (sparse.decode ? "/d" : "/") + (sparse.prefill ? "p" : "");
  }
  if (is_paged(value.state) && value.kv != quant::KvFormat::plain)
    return std::string(quant::info(value.kv).name);
  std::string text(quant::info(value.dtype).name);
  if (value.state == StateKind::kv_window)
    text += "/" + std::to_string(options.kv.sink_tokens()) + "/" +
            std::to_string(options.kv.recent_tokens()) + (options.kv.rotate ? "/h" : "");
  return text;
}

}  // namespace

CacheBytes Cache::bytes(const Graph& graph, std::int64_t capacity) {
  CacheBytes total;
  std::size_t window = 0;
  for (const Value& value : graph.values()) {
    if (value.role != Role::state) continue;
    if (is_paged(value.state))
      total.kv += state_bytes(value) * static_cast<std::size_t>(pages_for(capacity));
    else
      (value.state == StateKind::conv ? total.conv : window) += state_bytes(value);
  }
  total.kv += window;
  if (window > 0) total.kv += kAnchors * (window + total.conv);
  return total;
}

Result<std::unique_ptr<Cache>> Cache::create(const Graph& graph,
                                             const StateHomes& homes,
                                             const CacheOptions& options) {
  std::unique_ptr<Cache> cache(new Cache(StateMemory(homes.backends), options));
  for (const Value& value : graph.values()) {
    if (value.role != Role::state) continue;
    const std::size_t index = cache->states_.size();
    cache->adopt_state({value.state, value.dtype, value.shape, value.kv, format_of(value, options)},
                       index < homes.of_state.size() ? homes.of_state[index] : 0,
                       state_bytes(value));
  }
  RUNNEL_TRY(cache->start());
  return cache;
}

void Cache::adopt_state(StateInfo info, std::size_t home, std::size_t bytes) {
  std::size_t& end = (is_paged(info.kind) ? page_bytes_ : ring_bytes_).parts[home];
  if (info.kind == StateKind::conv) ring_columns_ = info.shape[0];
  if (info.kind == StateKind::kv_window) window_ = info.shape[1] - quant::kKvSinkTokens;
  states_.push_back({std::move(info), home, bytes, end, {}, {}, {}});
  end += bytes;
}

/// After the last state: memory that is there from the beginning.
Status Cache::start() {
  if (ring_bytes_.total() > 0) {
    RUNNEL_ASSIGN(rings_, memory_.allocate(ring_bytes_));
  }
  if (options_.shift) shift_ = no_shift(*options_.shift);
  tokens_.reserve(static_cast<std::size_t>(options_.capacity));
  rebind();
  return {};
}

Result<std::unique_ptr<Cache>> Cache::empty_copy() const {
  std::unique_ptr<Cache> copy(new Cache(memory_, options_));
  for (const State& state : states_) copy->adopt_state(state.info, state.home, state.bytes);
  RUNNEL_TRY(copy->start());
  return copy;
}

Result<std::unique_ptr<Cache>> Cache::fork(const Cache& like) const {
  RUNNEL_ASSIGN(std::unique_ptr<Cache> child, like.empty_copy());
  if (rings_ != nullptr) RUNNEL_TRY(memory_.copy(*child->rings_, *rings_));
  const auto n_pages = std::min(pages_.size(), static_cast<std::size_t>(pages_for(kv_end_)));
  child->pages_.assign(pages_.begin(), pages_.begin() + static_cast<std::ptrdiff_t>(n_pages));
  child->tokens_.reserve(static_cast<std::size_t>(std::max(like.capacity(), size())));
  child->tokens_ = tokens_;
  if (dropped() > 0) child->shift_ = shift_;
  child->kv_end_ = kv_end_;
  child->resume_from_ = resume_from_;
  child->conv_low_ = conv_low_;
  child->replay_start_ = replay_start_;
  child->window_low_ = window_low_;
  child->anchors_ = anchors_;
  child->sealed_ = sealed_;
  child->rebind();
  return child;
}

bool Cache::same_states(const Cache& other) const {
  return std::ranges::equal(states_, other.states_, {}, &State::info, &State::info);
}

void Cache::trim() {
  const auto n_pages = static_cast<std::size_t>(pages_for(kv_end_));
  if (pages_.size() <= n_pages) return;
  pages_.resize(n_pages);
  rebind();
}

std::vector<const StateBlock*> Cache::blocks() const {
  std::vector<const StateBlock*> all;
  if (rings_ != nullptr) all.push_back(rings_.get());
  for (const auto& page : pages_) all.push_back(page.get());
  for (const Anchor& anchor : anchors_) all.push_back(anchor.rings.get());
  return all;
}

CacheBytes Cache::held() const {
  CacheBytes total;
  for (const State& state : states_) {
    if (state.info.kind == StateKind::conv) total.conv += state.bytes;
    if (state.info.kind == StateKind::kv_window) total.kv += state.bytes;
  }
  for (const Anchor& anchor : anchors_) {
    total.kv += ring_bytes_.total();
    if (anchor.rings.use_count() > 1) total.shared += ring_bytes_.total();
  }
  for (const auto& page : pages_) {
    total.kv += page_bytes_.total();
    if (page.use_count() > 1) total.shared += page_bytes_.total();
  }
  return total;
}

void Cache::rebind() {
  bindings_.clear();
  for (State& state : states_) {
    const std::size_t n = is_paged(state.info.kind) ? pages_.size() : 1;
    state.host.resize(n);
    state.buffers.resize(n);
    state.offsets.assign(n, state.offset);
    for (std::size_t i = 0; i < n; ++i) {
      const StateBlock& block = is_paged(state.info.kind) ? *pages_[i] : *rings_;
      Buffer* buffer = block.parts[state.home].get();
      state.buffers[i] = buffer;
      state.host[i] = buffer->host() == nullptr ? nullptr : buffer->host() + state.offset;
    }
    bindings_.push_back({state.host, state.buffers, state.offsets});
  }
}

/// Makes page `index` exist, held by this cache alone, with the content it had.
Status Cache::own_page(std::size_t index) {
  RUNNEL_ASSIGN(std::unique_ptr<StateBlock> fresh, memory_.allocate(page_bytes_));
  if (index == pages_.size()) {
    pages_.push_back(std::move(fresh));
    return {};
  }
  if (static_cast<std::int64_t>(index) * kPageTokens < kv_end_)
    RUNNEL_TRY(memory_.copy(*fresh, *pages_[index]));
  pages_[index] = std::move(fresh);
  return {};
}

Status Cache::reserve(std::int64_t end) {
  if (end > options_.capacity) return context_full(end, options_.capacity);
  if (page_bytes_.total() == 0) return {};
  bool changed = false;
  Status status;
  const auto n_pages = static_cast<std::size_t>(pages_for(end));
  const std::int64_t first = window_ > 0 ? sealed_ : kv_end_;  // slot that is written first
  for (auto i = static_cast<std::size_t>(first / kPageTokens); i < n_pages && status.ok(); ++i) {
    if (i < pages_.size() && pages_[i].use_count() == 1) continue;
    status = own_page(i);
    changed = true;
  }
  if (changed) rebind();
  return status;
}

void Cache::commit(std::int64_t first, std::span<const TokenId> ids) {
  check(first == resume_from_, "Cache::commit: step did not start where it had to");
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::int64_t index = index_of(first + static_cast<std::int64_t>(i));
    if (index == size()) tokens_.push_back(ids[i]);
    check(tokens_[static_cast<std::size_t>(index)] == ids[i], "Cache::commit: replayed ids differ");
  }
  resume_from_ = first + static_cast<std::int64_t>(ids.size());
  if (resume_from_ < kv_end_) return;  // part of a replay
  const bool replayed = conv_low_ == kNoColumns;
  // A replay from position 0 is exact throughout, one from the middle in its last L-1 columns.
  if (replayed) conv_low_ = replay_start_ == 0 ? 0 : kv_end_ - (options_.conv_kernel - 1);
  kv_end_ = resume_from_;
  conv_low_ = std::max(conv_low_, kv_end_ - ring_columns_);
  if (window_ == 0) return;
  window_low_ = std::max(window_low_, kv_end_ - window_);
  sealed_ = std::max(sealed_, sealed_at(kv_end_));
}

void Cache::abandon_step(std::int64_t end) {
  if (window_ > 0 && end > kv_end_) window_low_ = std::max(window_low_, end - window_);
  conv_low_ = kNoColumns;
  plan_resume();
}

std::int64_t Cache::replay_from(std::int64_t end) const {
  return std::max<std::int64_t>(0, end - replay_reach());
}

/// Slot that a step runs from when KV ends at `end`, with conv columns and window rows from those
/// slots on: `end`, or earlier for a replay, or -1 when rows are missing.
std::int64_t Cache::resume_at(std::int64_t end,
                              std::int64_t conv_low,
                              std::int64_t window_low) const {
  const std::int64_t oldest = std::max<std::int64_t>(0, end - (options_.conv_kernel - 1));
  const bool replays = options_.n_conv_layers > 0 && oldest < conv_low;
  const std::int64_t from = replays ? replay_from(end) : end;
  return window_ == 0 || sealed_at(from) >= window_low ? from : -1;
}

/// Where to go on from with KV up to kv_end_.
void Cache::plan_resume() {
  if (kv_end_ == 0) conv_low_ = window_low_ = 0;  // nothing before it is read
  std::int64_t from = resume_at(kv_end_, conv_low_, window_low_);
  if (from < 0) {
    if (gap() > 0) return start_over(shift_.epoch, 0);
    return_to_anchor();
    from = resume_at(kv_end_, conv_low_, window_low_);
  }
  resume_from_ = from;
  if (from == kv_end_) return;
  // Tokens from before a drop saw what is gone: their replay would differ.
  if (gap() > 0 && next_index() - replay_reach() < shift_begin(*options_.shift, shift_))
    return start_over(shift_.epoch, kept());
  conv_low_ = kNoColumns;
  replay_start_ = from;
}

void Cache::truncate(std::int64_t n) {
  check(n >= 0 && n <= size(), "Cache::truncate: position out of range");
  if (n == size()) return;
  const std::int64_t computed = next_index();
  tokens_.resize(static_cast<std::size_t>(n));
  if (n >= computed) return;  // the rest was still to be computed again
  if (dropped() > 0 && shift_at(*options_.shift, n - 1) != shift_)
    return start_over(shift_at(*options_.shift, n - 1).epoch, std::min(n, kept()));
  kv_end_ = n - dropped();
  sealed_ = std::min(sealed_, kv_end_ / quant::kKvTileTokens * quant::kKvTileTokens);
  plan_resume();
  clip_anchors();
  // Pages past the end are kept for what comes next, unless they belong to others as well.
  const auto n_pages = static_cast<std::size_t>(pages_for(kv_end_));
  const std::size_t before = pages_.size();
  while (pages_.size() > n_pages && pages_.back().use_count() > 1) pages_.pop_back();
  if (pages_.size() != before) rebind();
}

std::int64_t Cache::match_prefix(std::span<const TokenId> ids) const {
  const auto differ = std::ranges::mismatch(ids, tokens_);
  return differ.in1 - ids.begin();
}

}  // namespace runnel
