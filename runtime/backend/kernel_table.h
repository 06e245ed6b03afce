// The kernel table of a backend is its capability answer: no matching row = not supported.
#pragma once
#include <span>
#include <string_view>

#include "runtime/backend/backend.h"

namespace runnel {

/// One kernel of one backend. Rows are ordered most specific first; the first match wins.
/// Step is what prepare() leaves for the backend's Executable (CPU: function + arguments).
template <class Step, class Caps>
struct KernelEntry {
  Op op;
  std::string_view name;
  bool (*matches)(const Graph&, const Node&, const Caps&);
  Result<Step> (*prepare)(const Graph&, const Node&, std::span<const BufferView> bindings);
};

/// Whether an op over tiles works on all pages and all heads: for kernels that know neither sparse
/// attention nor streaming heads.
inline bool dense_tiles(const Node& node) {
  const AttentionAttr* attention = std::get_if<AttentionAttr>(&node.attr);
  const KvWindowAttr* window =
      attention ? &attention->tiles : std::get_if<KvWindowAttr>(&node.attr);
  return (attention == nullptr || attention->sparse.pages == 0) &&
         (window == nullptr || window->streaming == 0);
}

/// The row that will run `node`, or null: null is exactly "not supported".
template <class Entry, class Caps>
const Entry* find_kernel(std::span<const Entry> table,
                         const Graph& graph,
                         const Node& node,
                         const Caps& caps) {
  for (const Entry& row : table)
    if (row.op == node.op && row.matches(graph, node, caps)) return &row;
  return nullptr;
}

}  // namespace runnel
