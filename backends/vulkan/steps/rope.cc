// Speeds of a rotary embedding as 64-bit fractions of a turn, computed here once: a shader only
// multiplies whole numbers.
#include <cmath>

#include "backends/vulkan/memory.h"
#include "backends/vulkan/steps/operands.h"
#include "backends/vulkan/steps/steps.h"

namespace runnel::vulkan::steps {
namespace {

constexpr std::uint32_t kThreads = 64;

/// Low and high word of each pair's turns per position, modulo one turn.
std::vector<std::uint32_t> speeds(const RopeAttr& attr, std::span<const float> factors) {
  constexpr long double kTurn = 6.283185307179586476925286766559L;
  std::vector<std::uint32_t> words;
  for (int i = 0; i < attr.rotary_dim / 2; ++i) {
    const double exponent = -2.0 * i / attr.rotary_dim;
    const double factor = factors.empty() ? 1.0 : double{factors[static_cast<std::size_t>(i)]};
    const double speed = std::pow(static_cast<double>(attr.theta), exponent) / factor;
    long double turns = static_cast<long double>(speed) / kTurn;
    turns -= std::floor(turns);
    const auto high = static_cast<std::uint32_t>(std::min(turns * 4294967296.0L, 4294967295.0L));
    const long double rest = turns * 4294967296.0L - static_cast<long double>(high);
    const auto low = static_cast<std::uint32_t>(std::min(rest * 4294967296.0L, 4294967295.0L));
    words.insert(words.end(), {low, high});
  }
  return words;
}

}  // namespace

Result<Operand> rope_speeds(const Node& node, Bindings bindings) {
  const auto& attr = attr_of<RopeAttr>(node);
  const std::size_t factors_at = node.op == Op::rms_norm_rope ? 2 : 1;
  std::span<const float> factors;
  if (node.in.size() > factors_at) {
    const BufferView& view = bindings[static_cast<std::size_t>(node.in[factors_at])];
    factors = static_cast<const DeviceBuffer*>(view.buffer)->values;
    if (factors.size() < static_cast<std::size_t>(attr.rotary_dim / 2))
      return Status(Code::invalid_argument, node.name + ": frequency factors are not placed");
  }
  return constant(speeds(attr, factors));
}

Result<Step> rope(const Graph& graph, const Node& node, Bindings bindings) {
  const auto& attr = attr_of<RopeAttr>(node);
  const bool normed = node.op == Op::rms_norm_rope;
  RUNNEL_ASSIGN(Operand speed, rope_speeds(node, bindings));
  const std::int64_t heads = graph.value(node.in[0]).shape.cols() / attr.head_dim;
  Dispatch d;
  d.shader = normed ? "rope.yes" : "rope.no";
  d.constants = {kThreads};
  d.push = {u32(attr.head_dim), u32(heads), u32(attr.rotary_dim / 2),
            attr.style == RopeStyle::interleaved, bits(attr.eps)};
  d.operands = {read(bindings, node.in[0]), std::move(speed), write(bindings, node.out[0])};
  if (normed) d.operands.push_back(read(bindings, node.in[1]));
  d.grid = {Extent{u32(heads)}, Extent{0, 1, 1}, Extent{}};
  return Step{{std::move(d)}};
}

}  // namespace runnel::vulkan::steps
