// Static memory: each value lives from the node that makes it to the last node that reads it;
// values whose lives do not meet share arena bytes. Offsets by size, largest first (a good and
// simple heuristic for interval packing).
#include <algorithm>
#include <limits>

#include "runtime/compile/layout.h"

namespace runnel {
namespace {

struct Slot {
  std::int64_t first = std::numeric_limits<std::int64_t>::max();
  std::int64_t last = -1;
  std::size_t bytes = 0;
  std::int64_t offset = 0;
  bool overlaps(const Slot& other) const { return first <= other.last && other.first <= last; }
};

/// Storage of one memory domain while it is being laid out.
class DomainMemory {
 public:
  explicit DomainMemory(std::size_t n_values) : slot_of_(n_values, kNone) {}

  void use(ValueId id, const Value& value, std::int64_t at) {
    std::size_t& slot = slot_of_[static_cast<std::size_t>(id)];
    if (slot == kNone) {
      slot = slots_.size();
      slots_.push_back({});
    }
    Slot& s = slots_[slot];
    s.first = std::min(s.first, at);
    s.last = std::max(s.last, at);
    s.bytes = std::max(s.bytes, value_bytes(value));
  }
  /// `out` takes the storage of `in`, whose life ends where out's begins.
  void merge(ValueId in, ValueId out) {
    const std::size_t kept = slot_of_[static_cast<std::size_t>(in)];
    const std::size_t freed = slot_of_[static_cast<std::size_t>(out)];
    slots_[kept].last = std::max(slots_[kept].last, slots_[freed].last);
    slots_[kept].bytes = std::max(slots_[kept].bytes, slots_[freed].bytes);
    slots_[freed].bytes = 0;
    for (std::size_t& slot : slot_of_)
      if (slot == freed) slot = kept;
  }
  std::int64_t last_use(ValueId id) const {
    const std::size_t slot = slot_of_[static_cast<std::size_t>(id)];
    return slot == kNone ? -1 : slots_[slot].last;
  }
  bool holds(ValueId id) const { return slot_of_[static_cast<std::size_t>(id)] != kNone; }

  /// Chooses offsets; returns the arena size.
  std::size_t pack() {
    std::vector<std::size_t> order(slots_.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::stable_sort(
        order, [&](std::size_t a, std::size_t b) { return slots_[a].bytes > slots_[b].bytes; });
    std::vector<std::size_t> placed;  // by offset
    std::size_t arena = 0;
    for (std::size_t index : order) {
      Slot& slot = slots_[index];
      std::int64_t offset = 0;
      for (std::size_t other : placed) {
        const Slot& o = slots_[other];
        if (!slot.overlaps(o)) continue;
        if (offset + static_cast<std::int64_t>(slot.bytes) <= o.offset) break;
        offset = std::max(offset, o.offset + static_cast<std::int64_t>(o.bytes));
      }
      slot.offset = offset;
      const auto before = [&](std::size_t a) { return slots_[a].offset <= offset; };
      placed.insert(std::ranges::find_if_not(placed, before), index);
      arena = std::max(arena, static_cast<std::size_t>(offset) + slot.bytes);
    }
    return arena;
  }
  Placement placement(ValueId id) const {
    const std::size_t slot = slot_of_[static_cast<std::size_t>(id)];
    return slot == kNone ? Placement{} : Placement{slots_[slot].offset};
  }

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  std::vector<std::size_t> slot_of_;
  std::vector<Slot> slots_;
};

bool in_arena(const Value& value) {
  return value.role == Role::temp || value.role == Role::output || value.role == Role::input;
}

/// Records when each value is made and read, in every domain.
void record_lifetimes(const PlanLayout& layout, std::vector<DomainMemory>& domains) {
  const Graph& graph = layout.graph;
  const auto n_nodes = static_cast<std::int64_t>(graph.nodes().size());
  for (const LayoutSegment& segment : layout.segments) {
    const auto domain = static_cast<std::size_t>(
        layout.domain_of_backend[static_cast<std::size_t>(segment.backend)]);
    const auto start = static_cast<std::int64_t>(segment.first);
    for (const LayoutSegment::Copy& copy : segment.copies) {
      domains[static_cast<std::size_t>(copy.from)].use(copy.value, graph.value(copy.value), start);
      domains[static_cast<std::size_t>(copy.to)].use(copy.value, graph.value(copy.value), start);
    }
    for (std::size_t i = segment.first; i < segment.last; ++i) {
      const auto at = static_cast<std::int64_t>(i);
      const auto use = [&](ValueId id) {
        const Value& value = graph.value(id);
        if (!in_arena(value)) return;
        domains[domain].use(id, value, at);
        if (value.role == Role::input) domains[domain].use(id, value, 0);
        if (value.role == Role::output) domains[domain].use(id, value, n_nodes);
      };
      std::ranges::for_each(graph.nodes()[i].in, use);
      std::ranges::for_each(graph.nodes()[i].out, use);
    }
  }
}

/// Lets outputs take over the storage of an input that dies in the same node.
void share_in_place(const PlanLayout& layout, std::vector<DomainMemory>& domains) {
  const Graph& graph = layout.graph;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (!schema(node.op).in_place || node.out.empty()) continue;
    const ValueId in = node.in[0], out = node.out[0];
    const auto owner = static_cast<std::size_t>(layout.node_backend[i]);
    DomainMemory& memory = domains[static_cast<std::size_t>(layout.domain_of_backend[owner])];
    const bool dies = memory.holds(in) && memory.last_use(in) == static_cast<std::int64_t>(i);
    const bool temps = graph.value(in).role == Role::temp && graph.value(out).role == Role::temp;
    if (dies && temps && value_bytes(graph.value(in)) == value_bytes(graph.value(out)))
      memory.merge(in, out);
  }
}

}  // namespace

void place_memory(PlanLayout& layout) {
  const std::size_t n_values = layout.graph.values().size();
  std::vector<DomainMemory> domains(static_cast<std::size_t>(layout.n_domains),
                                    DomainMemory(n_values));
  record_lifetimes(layout, domains);
  share_in_place(layout, domains);
  layout.placements.assign(domains.size(), std::vector<Placement>(n_values));
  layout.arena_bytes.clear();
  for (std::size_t d = 0; d < domains.size(); ++d) {
    layout.arena_bytes.push_back(domains[d].pack());
    for (std::size_t v = 0; v < n_values; ++v)
      layout.placements[d][v] = domains[d].placement(static_cast<ValueId>(v));
  }
}

}  // namespace runnel
