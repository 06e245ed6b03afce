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

std::size_t state_bytes(const Value& value) {
  const auto cols = static_cast<std::size_t>(value.shape.cols());
  return align_up(
      quant::row_bytes(value.dtype, cols) * static_cast<std::size_t>(value.shape.rows()), 64);
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
      total.conv += state_bytes(value);
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
    if (value.state != StateKind::conv) continue;
    ring_bytes += state_bytes(value);
    cache->ring_columns_ = value.shape[0];
  }
  if (ring_bytes > 0) {
    RUNNEL_ASSIGN(std::unique_ptr<Buffer> rings, backend.allocate(ring_bytes, MemoryKind::device));
    std::size_t offset = 0;
    for (State& state : cache->states_)
      if (state.kind == StateKind::conv) cache->add_page(state, *rings, offset);
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
  if (end < size()) return;  // part of a replay
  const bool replayed = conv_low_ == kNoColumns;
  // A replay from position 0 is exact throughout, one from the middle in its last L-1 columns.
  if (replayed) conv_low_ = replay_start_ == 0 ? 0 : size() - (options_.conv_kernel - 1);
  tokens_.insert(tokens_.end(), ids.begin() + static_cast<std::ptrdiff_t>(known), ids.end());
  conv_low_ = std::max(conv_low_, size() - ring_columns_);
}

void Cache::abandon_step() {
  if (options_.n_conv_layers > 0) plan_replay();
}

void Cache::plan_replay() {
  conv_low_ = kNoColumns;
  replay_start_ =
      std::max<std::int64_t>(0, size() - options_.n_conv_layers * (options_.conv_kernel - 1));
  resume_from_ = replay_start_;
}

void Cache::truncate(std::int64_t n) {
  check(n >= 0 && n <= size(), "Cache::truncate: position out of range");
  if (n == size()) return;
  tokens_.resize(static_cast<std::size_t>(n));
  resume_from_ = n;
  if (options_.n_conv_layers == 0) return;
  const std::int64_t oldest_needed = std::max<std::int64_t>(0, n - (options_.conv_kernel - 1));
  if (oldest_needed < conv_low_) plan_replay();
}

std::int64_t Cache::match_prefix(std::span<const TokenId> ids) const {
  const auto differ = std::ranges::mismatch(ids, tokens_);
  return differ.in1 - ids.begin();
}

}  // namespace runnel
