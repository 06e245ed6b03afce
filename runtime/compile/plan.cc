#include "runtime/compile/plan.h"

#include <algorithm>

namespace runnel {

BufferView Plan::view(int domain, ValueId id) const {
  const auto d = static_cast<std::size_t>(domain);
  const Placement place = layout_.placements[d][static_cast<std::size_t>(id)];
  if (place.offset == Placement::kNowhere) return {};
  return {arenas_[d].get(), static_cast<std::size_t>(place.offset),
          value_bytes(layout_.graph.value(id))};
}

Status Plan::place_values(std::span<Backend* const> backends, WeightStore& weights) {
  bindings_.assign(backends.size(), std::vector<BufferView>(layout_.graph.values().size()));
  for (std::size_t i = 0; i < layout_.graph.nodes().size(); ++i) {
    const auto b = static_cast<std::size_t>(layout_.node_backend[i]);
    const auto bind = [&](ValueId id) -> Status {
      const Value& value = layout_.graph.value(id);
      BufferView& slot = bindings_[b][static_cast<std::size_t>(id)];
      if (value.role == Role::weight) {
        RUNNEL_ASSIGN(slot, weights.get(b, *backends[b], value));
      } else if (value.role != Role::state) {
        slot = view(layout_.domain_of_backend[b], id);
      }
      return {};
    };
    for (ValueId id : layout_.graph.nodes()[i].in) RUNNEL_TRY(bind(id));
    for (ValueId id : layout_.graph.nodes()[i].out) RUNNEL_TRY(bind(id));
  }
  return {};
}

Result<std::unique_ptr<Plan>> Plan::create(PlanLayout layout,
                                           std::span<Backend* const> backends,
                                           WeightStore& weights) {
  std::unique_ptr<Plan> plan(new Plan(std::move(layout)));
  const PlanLayout& l = plan->layout_;
  plan->backends_.assign(backends.begin(), backends.end());
  plan->ids_ = l.graph.find_value("ids");
  for (int d = 0; d < l.n_domains; ++d) {
    const auto owner = std::ranges::find(l.domain_of_backend, d);
    const auto bytes = l.arena_bytes[static_cast<std::size_t>(d)];
    // Domain 0 exists even when no backend uses host memory; it is then empty.
    Backend* backend =
        owner == l.domain_of_backend.end()
            ? nullptr
            : backends[static_cast<std::size_t>(owner - l.domain_of_backend.begin())];
    plan->domain_owner_.push_back(backend);
    plan->arenas_.emplace_back();
    if (backend == nullptr || bytes == 0) continue;
    RUNNEL_ASSIGN(plan->arenas_.back(), backend->allocate(bytes, MemoryKind::device));
  }
  RUNNEL_TRY(plan->place_values(backends, weights));
  std::size_t staging = 0;
  for (const LayoutSegment& segment : l.segments) {
    for (const LayoutSegment::Copy& copy : segment.copies)
      staging = std::max(staging, value_bytes(l.graph.value(copy.value)));
    const auto b = static_cast<std::size_t>(segment.backend);
    const auto nodes =
        std::span(l.graph.nodes()).subspan(segment.first, segment.last - segment.first);
    RUNNEL_ASSIGN(std::unique_ptr<Executable> executable,
                  backends[b]->compile(l.graph, Segment{nodes, plan->bindings_[b]}));
    plan->segments_.push_back({std::move(executable), &segment});
  }
  plan->staging_.resize(staging);
  return plan;
}

Status Plan::copy(const LayoutSegment::Copy& copy) {
  const BufferView from = view(copy.from, copy.value);
  const BufferView to = view(copy.to, copy.value);
  const auto staging = std::span(staging_).first(from.size);
  RUNNEL_TRY(domain_owner_[static_cast<std::size_t>(copy.from)]->download(staging, from));
  return domain_owner_[static_cast<std::size_t>(copy.to)]->upload(to, staging);
}

Status Plan::run(const StepParams& params,
                 const StateTable& states,
                 std::span<const std::int32_t> ids) {
  check(params.n_tokens >= 1 && params.n_tokens <= max_tokens(),
        "Plan::run: n_tokens out of range");
  check(ids.size() == static_cast<std::size_t>(params.n_tokens),
        "Plan::run: ids do not match n_tokens");
  for (int d = 0; d < layout_.n_domains; ++d) {
    const BufferView input = view(d, ids_);
    if (input.buffer != nullptr)
      RUNNEL_TRY(domain_owner_[static_cast<std::size_t>(d)]->upload(input, std::as_bytes(ids)));
  }
  for (const CompiledSegment& segment : segments_) {
    for (const LayoutSegment::Copy& c : segment.layout->copies) RUNNEL_TRY(copy(c));
    RUNNEL_ASSIGN(Event * event, segment.executable->submit(params, states));
    RUNNEL_TRY(event->wait());
  }
  return {};
}

Status Plan::time_nodes(std::span<std::int64_t> nanoseconds) {
  check(nanoseconds.empty() || nanoseconds.size() == layout_.graph.nodes().size(),
        "time_nodes: one element per node");
  for (const CompiledSegment& segment : segments_) {
    const LayoutSegment& nodes = *segment.layout;
    RUNNEL_TRY(segment.executable->time_nodes(
        nanoseconds.empty() ? nanoseconds
                            : nanoseconds.subspan(nodes.first, nodes.last - nodes.first)));
  }
  return {};
}

Status Plan::read_output(std::string_view name,
                         std::int64_t n_rows,
                         std::span<std::byte> dst) const {
  const ValueId id = layout_.graph.find_value(name);
  check(id != kNoValue, "read_output: no such output");
  return read_rows(id, n_rows, dst);
}

Status Plan::read_rows(ValueId id, std::int64_t n_rows, std::span<std::byte> dst) const {
  const Value& value = layout_.graph.value(id);
  check(value.role == Role::output, "read_rows: no output");
  check(dst.size() == static_cast<std::size_t>(n_rows * value.shape.cols()) * sizeof(float) &&
            n_rows <= value.shape.rows(),
        "read_rows: wrong size");
  for (int d = 0; d < layout_.n_domains; ++d) {
    BufferView from = view(d, id);
    if (from.buffer == nullptr) continue;
    from.size = dst.size();
    return domain_owner_[static_cast<std::size_t>(d)]->download(dst, from);
  }
  return Status(Code::internal, "output " + value.name + " was never placed");
}

}  // namespace runnel
