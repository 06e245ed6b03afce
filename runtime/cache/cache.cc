#include "runtime/cache/cache.h"

#include <algorithm>

#include "runtime/base/checked.h"

namespace runnel {
namespace {

/// Pages allocated at a time for every KV state together (256 tokens): few buffers, little waste.
constexpr std::int64_t kSlabPages = 4;

bool is_kv(StateKind kind) {
  return kind == StateKind::kv_k || kind == StateKind::kv_v;
}

std::int64_t pages_for(std::int64_t tokens) {
  return (tokens + kPageTokens - 1) / kPageTokens;
}

}  // namespace

CacheBytes Cache::bytes(const Graph& graph, std::int64_t capacity) {
  CacheBytes total;
  const std::int64_t slabs = (pages_for(capacity) + kSlabPages - 1) / kSlabPages;
  for (const Value& value : graph.values()) {
    if (value.role != Role::state) continue;
    if (is_kv(value.state))
      total.kv += state_bytes(value) * static_cast<std::size_t>(slabs * kSlabPages);
    else
      (value.state == StateKind::conv ? total.conv : total.kv) += state_bytes(value);
  }
  return total;
}

Result<std::unique_ptr<Cache>> Cache::create(const Graph& graph,
                                             Backend& backend,
                                             const CacheOptions& options) {
  std::unique_ptr<Cache> cache(new Cache(backend, options));
  std::size_t ring_bytes = 0;
  for (const Value& value : graph.values()) {
    if (value.role != Role::state) continue;
    cache->states_.push_back({value.state, state_bytes(value), {}, {}, {}});
    if (is_kv(value.state)) continue;
    ring_bytes += state_bytes(value);
    if (value.state == StateKind::conv)
      cache->ring_columns_ = value.shape[0];
    else
      cache->window_ = value.shape[1] - quant::kKvSinkTokens;
  }
  if (ring_bytes > 0) {
    RUNNEL_ASSIGN(std::unique_ptr<Buffer> rings, backend.allocate(ring_bytes, MemoryKind::device));
    std::size_t offset = 0;
    for (State& state : cache->states_)
      if (!is_kv(state.kind)) cache->add_page(state, *rings, offset);
    cache->slabs_.push_back(std::move(rings));
  }
  cache->tokens_.reserve(static_cast<std::size_t>(options.capacity));
  cache->rebind();
  return cache;
}

void Cache::add_page(State& state, Buffer& slab, std::size_t& offset) {
  state.buffers.push_back(&slab);
  state.offsets.push_back(offset);
  state.host.push_back(slab.host() == nullptr ? nullptr : slab.host() + offset);
  offset += state.page_bytes;
}

void Cache::rebind() {
  bindings_.clear();
  for (const State& state : states_)
    bindings_.push_back({state.host, state.buffers, state.offsets});
}

Status Cache::reserve(std::int64_t end) {
  if (end > options_.capacity)
    return Status(Code::context_full, std::to_string(end) + " tokens do not fit a context of " +
                                          std::to_string(options_.capacity));
  std::size_t slab_bytes = 0;
  for (const State& state : states_)
    if (is_kv(state.kind)) slab_bytes += state.page_bytes * static_cast<std::size_t>(kSlabPages);
  if (slab_bytes == 0) return {};
  const bool grows = n_pages_ < pages_for(end);
  while (n_pages_ < pages_for(end)) {
    RUNNEL_ASSIGN(std::unique_ptr<Buffer> slab, backend_.allocate(slab_bytes, MemoryKind::device));
    std::size_t offset = 0;
    for (State& state : states_)
      for (std::int64_t page = 0; is_kv(state.kind) && page < kSlabPages; ++page)
        add_page(state, *slab, offset);
    slabs_.push_back(std::move(slab));
    n_pages_ += kSlabPages;
  }
  if (grows) rebind();
  return {};
}

void Cache::commit(std::int64_t first, std::span<const TokenId> ids) {
  check(first == resume_from_, "Cache::commit: step did not start where it had to");
  const std::int64_t end = first + static_cast<std::int64_t>(ids.size());
  const std::int64_t known = std::min(size(), end) - first;
  check(std::ranges::equal(ids.first(static_cast<std::size_t>(known)),
                           std::span(tokens_).subspan(static_cast<std::size_t>(first),
                                                      static_cast<std::size_t>(known))),
        "Cache::commit: replayed ids differ");
  resume_from_ = end;
  const std::int64_t had_kv = kv_end_;
  if (end > kv_end_) {
    kv_end_ = end;
    window_low_ = std::max(window_low_, end - window_);
    sealed_ = std::max(sealed_, quant::kv_sealed_before(end - 1, options_.kv_recent));
  }
  if (end < had_kv) return;  // part of a replay
  const bool replayed = conv_low_ == kNoColumns;
  // A replay from position 0 is exact throughout, one from the middle in its last L-1 columns.
  if (replayed) conv_low_ = replay_start_ == 0 ? 0 : had_kv - (options_.conv_kernel - 1);
  tokens_.insert(tokens_.end(), ids.begin() + static_cast<std::ptrdiff_t>(known), ids.end());
  conv_low_ = std::max(conv_low_, end - ring_columns_);
}

void Cache::abandon_step(std::int64_t end) {
  if (end > kv_end_) window_low_ = std::max(window_low_, end - window_);
  if (options_.n_conv_layers > 0) conv_low_ = kNoColumns;
  plan_resume();
}

bool Cache::window_reaches(std::int64_t position) const {
  // Rows that the step at `position` may seal or read; sinks have slots of their own.
  const std::int64_t oldest = quant::kv_sealed_before(position - 1, options_.kv_recent);
  return window_ == 0 || oldest >= window_low_;
}

/// Where to go on from with KV up to kv_end_ and conv columns from conv_low_ on.
void Cache::plan_resume() {
  resume_from_ = kv_end_;
  if (options_.n_conv_layers > 0) {
    const std::int64_t oldest = std::max<std::int64_t>(0, kv_end_ - (options_.conv_kernel - 1));
    if (oldest < conv_low_) {
      conv_low_ = kNoColumns;
      const std::int64_t reach = options_.n_conv_layers * (options_.conv_kernel - 1);
      resume_from_ = replay_start_ = std::max<std::int64_t>(0, kv_end_ - reach);
    }
  }
  if (window_reaches(resume_from_)) return;
  resume_from_ = kv_end_ = sealed_ = window_low_ = conv_low_ = 0;
}

void Cache::truncate(std::int64_t n) {
  check(n >= 0 && n <= size(), "Cache::truncate: position out of range");
  if (n == size()) return;
  tokens_.resize(static_cast<std::size_t>(n));
  if (n >= kv_end_ && resume_from_ == kv_end_) return;  // still being computed again
  kv_end_ = std::min(kv_end_, n);
  sealed_ = std::min(sealed_, n / quant::kKvTileTokens * quant::kKvTileTokens);
  plan_resume();
}

std::int64_t Cache::match_prefix(std::span<const TokenId> ids) const {
  const auto differ = std::ranges::mismatch(ids, tokens_);
  return differ.in1 - ids.begin();
}

}  // namespace runnel
