#include "backends/cuda/state_table.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace runnel::cuda {
namespace {

constexpr std::size_t kAddress = sizeof(std::byte*);

/// Pages of a state that a step may touch: all up to its last token.
std::size_t pages_in_use(const StateBinding& state, const StepParams& params) {
  const std::int64_t end = params.kv_pos() + params.n_tokens;
  const auto needed = static_cast<std::size_t>((end + kPageTokens - 1) / kPageTokens);
  return std::min(state.buffers.size(), std::max<std::size_t>(1, needed));
}

}  // namespace

Result<StepBuffer> StepBuffer::make(const Device& device,
                                    const std::shared_ptr<Pool>& pool,
                                    std::vector<StateUse> uses,
                                    std::size_t n_states) {
  StepBuffer made(device);
  made.pool_ = pool;
  made.uses_ = std::move(uses);
  made.tables_.resize(n_states);
  const std::size_t bytes = sizeof(StepData) + n_states * kAddress;
  RUNNEL_ASSIGN(made.head_, PinnedBytes::allocate(bytes + sizeof(std::int32_t)));
  std::memset(made.head_.data(), 0, made.head_.size());
  RUNNEL_ASSIGN(made.device_head_, DeviceBuffer::allocate(pool, bytes));
  RUNNEL_TRY(made.grow(16));
  return made;
}

const StepData* StepBuffer::device_step() const {
  return reinterpret_cast<const StepData*>(
      static_cast<const DeviceBuffer&>(*device_head_).device());
}

Status StepBuffer::grow(std::size_t pages) {
  pages_each_ = std::bit_ceil(pages);
  const std::size_t bytes = std::max<std::size_t>(1, tables_.size()) * pages_each_ * kAddress;
  RUNNEL_ASSIGN(pages_, PinnedBytes::allocate(bytes));
  RUNNEL_ASSIGN(device_pages_, DeviceBuffer::allocate(pool_, bytes));
  return {};
}

Status StepBuffer::check(const StateUse& use,
                         const StepParams& params,
                         const StateTable& states) const {
  const auto index = static_cast<std::size_t>(use.index);
  if (index >= states.states.size())
    return {Code::invalid_argument, use.name + ": a step without its states"};
  const std::span<Buffer* const> pages = states.states[index].buffers;
  const std::int64_t pos = params.kv_pos(), end = pos + params.n_tokens;
  std::int64_t first_key = pos;
  if (use.reads) first_key = use.window > 0 ? std::max<std::int64_t>(0, pos - use.window + 1) : 0;
  const std::int64_t first = use.paged ? first_key / kPageTokens : 0;
  const std::int64_t last = use.paged ? (end - 1) / kPageTokens : 0;
  if (last >= std::ssize(pages) || pages[static_cast<std::size_t>(first)] == nullptr)
    return {Code::invalid_argument,
            use.name + ": state page " + std::to_string(last) + " is missing"};
  return {};
}

bool StepBuffer::same(const StateTable& states, const StepParams& params) const {
  if (!known_ || generation_ != pool_->generation()) return false;
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    const StateBinding& state = states.states[i];
    const std::size_t n = pages_in_use(state, params);
    const Table& table = tables_[i];
    if (table.buffers.size() < n ||
        !std::equal(table.buffers.begin(), table.buffers.begin() + static_cast<std::ptrdiff_t>(n),
                    state.buffers.begin()) ||
        !std::equal(table.offsets.begin(), table.offsets.begin() + static_cast<std::ptrdiff_t>(n),
                    state.offsets.begin()))
      return false;
  }
  return true;
}

Status StepBuffer::write_tables(const StateTable& states, const StepParams& params) {
  std::size_t most = 1;
  for (std::size_t i = 0; i < tables_.size(); ++i)
    most = std::max(most, states.states[i].buffers.size());
  if (most > pages_each_) RUNNEL_TRY(grow(most));
  auto* addresses = reinterpret_cast<std::byte**>(pages_.data());
  std::byte* const on_device = static_cast<const DeviceBuffer&>(*device_pages_).device();
  auto* heads = reinterpret_cast<std::byte**>(head_.data() + sizeof(StepData));
  known_ = false;
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    const StateBinding& state = states.states[i];
    const auto n = static_cast<std::ptrdiff_t>(state.buffers.size());
    tables_[i].buffers.assign(state.buffers.begin(), state.buffers.end());
    tables_[i].offsets.assign(state.offsets.begin(), state.offsets.end());
    for (std::ptrdiff_t p = 0; p < n; ++p) {
      const auto page = static_cast<std::size_t>(p);
      std::byte*& slot = addresses[i * pages_each_ + page];
      slot = state.buffers[page] == nullptr
                 ? nullptr
                 : address({state.buffers[page], state.offsets[page], 0});
    }
    heads[i] = on_device + i * pages_each_ * kAddress;
  }
  (void)params;
  const std::size_t bytes = tables_.size() * pages_each_ * kAddress;
  if (bytes > 0)
    RUNNEL_TRY(to_status(
        cudaMemcpyAsync(on_device, pages_.data(), bytes, cudaMemcpyHostToDevice, device_->stream()),
        "uploading the table of pages"));
  generation_ = pool_->generation();
  known_ = true;
  return {};
}

Status StepBuffer::fill(const StepParams& params, const StateTable& states) {
  if (states.states.size() < tables_.size())
    return {Code::invalid_argument, "a step without its states"};
  for (const StateUse& use : uses_) RUNNEL_TRY(check(use, params, states));
  if (!same(states, params)) RUNNEL_TRY(write_tables(states, params));
  auto* failure = reinterpret_cast<std::int32_t*>(head_.data() + head_.size() - sizeof(int));
  *failure = 0;
  const StepData data{params.pos, params.n_tokens, params.kv_keep, params.kv_sealed, params.kv_gap,
                      0,          failure};
  std::memcpy(head_.data(), &data, sizeof data);
  return {};
}

Status StepBuffer::enqueue_copy() const {
  return to_status(cudaMemcpyAsync(static_cast<const DeviceBuffer&>(*device_head_).device(),
                                   head_.data(), sizeof(StepData) + tables_.size() * kAddress,
                                   cudaMemcpyHostToDevice, device_->stream()),
                   "copying the step's parameters");
}

Status StepBuffer::failure() const {
  std::int32_t code = 0;
  std::memcpy(&code, head_.data() + head_.size() - sizeof code, sizeof code);
  if (code == 0) return {};
  return {Code::invalid_argument, static_cast<Failure>(code) == Failure::token_id
                                      ? "a token id is outside the vocabulary"
                                      : "a step names an expert that does not exist"};
}

}  // namespace runnel::cuda
