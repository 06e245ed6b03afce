#include "runtime/session/offload.h"

#include <charconv>
#include <set>

namespace runnel {
namespace {

Result<const BackendInfo*> find_backend(const std::string& name) {
  std::string known = "auto";
  for (const BackendInfo& row : backend_registry()) {
    known += ", " + std::string(row.name);
    const auto good = row.chosen_by_itself ? row.chosen_by_itself : row.available;
    const bool chosen = name == "auto" ? good() : row.name == name;
    if (!chosen) continue;
    if (row.available()) return &row;
    return Status(Code::unsupported, "backend " + name + " does not work on this machine");
  }
  return Status(Code::invalid_argument, "backend \"" + name + "\" is not one of " + known);
}

/// Number of a block from a node's name ("blk.3.attn_q"); -1 for nodes outside of blocks.
std::int64_t layer_of(const Node& node) {
  constexpr std::string_view kPrefix = "blk.";
  std::int64_t layer = -1;
  if (!node.name.starts_with(kPrefix)) return layer;
  std::from_chars(node.name.data() + kPrefix.size(), node.name.data() + node.name.size(), layer);
  return layer;
}

std::size_t states_bytes(const PlanLayout& layout, std::int64_t capacity) {
  std::size_t bytes = 0;
  const std::vector<std::size_t> homes = state_backends(layout);
  const auto pages = static_cast<std::size_t>((capacity + kPageTokens - 1) / kPageTokens);
  for (const Value& value : layout.graph.values()) {
    if (value.role != Role::state || homes[static_cast<std::size_t>(value.state_index)] != 0)
      continue;
    bytes += state_bytes(value) * (is_paged(value.state) ? pages : 1);
  }
  return bytes;
}

}  // namespace

Result<std::vector<std::unique_ptr<Backend>>> create_backends(const std::string& name,
                                                              const BackendOptions& options) {
  RUNNEL_ASSIGN(const BackendInfo* const chosen, find_backend(name));
  std::vector<std::unique_ptr<Backend>> backends;
  const auto add = [&](const BackendInfo& row) -> Status {
    RUNNEL_ASSIGN(std::unique_ptr<Backend> made, row.create(options));
    backends.push_back(std::move(made));
    return {};
  };
  RUNNEL_TRY(add(*chosen));
  const std::span<const BackendInfo> rows = backend_registry();
  if (!chosen->host)
    for (const BackendInfo& row : rows.first(rows.size() - 1))
      if (row.host && row.available()) {
        RUNNEL_TRY(add(row));
        break;
      }
  if (chosen != &rows.back()) RUNNEL_TRY(add(rows.back()));
  return backends;
}

std::function<std::size_t(const Node&)> meant_by_layer(std::int64_t n_layers,
                                                       std::int64_t n_device) {
  if (n_device >= n_layers) return {};
  return [first = n_layers - n_device, n_device](const Node& node) -> std::size_t {
    if (node.op == Op::embed || n_device == 0) return 1;
    const std::int64_t layer = layer_of(node);
    return layer == -1 || layer >= first ? 0 : 1;
  };
}

std::size_t device_bytes(const PlanLayout& layout,
                         std::span<Backend* const> backends,
                         std::int64_t capacity) {
  const auto domain = static_cast<std::size_t>(layout.domain_of_backend.front());
  std::size_t bytes = layout.arena_bytes[domain] + layout.scratch_bytes.front();
  bytes += states_bytes(layout, capacity);
  std::set<ValueId> seen;
  for (std::size_t i = 0; i < layout.graph.nodes().size(); ++i) {
    if (layout.node_backend[i] != 0) continue;
    for (ValueId id : layout.graph.nodes()[i].in) {
      const Value& value = layout.graph.value(id);
      if (value.role == Role::weight && seen.insert(id).second)
        bytes += backends.front()->weight_bytes(value);
    }
  }
  return bytes;
}

}  // namespace runnel
