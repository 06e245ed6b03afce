#include "backends/vulkan/certify.h"

#include <algorithm>
#include <cstring>

#include "backends/vulkan/disk_cache.h"
#include "backends/vulkan/known_answer.h"
#include "runtime/base/env.h"

namespace runnel::vulkan {
namespace {

std::string key_of(const Row& row, const Graph& graph, const Node& node, const Step& step) {
  std::string key(row.name);
  key += " " + std::string(quant::info(graph.value(node.in[1]).dtype).name);
  key += graph.max_tokens() == 1 ? " one" : graph.max_tokens() <= 8 ? " few" : " many";
  if (const AttentionAttr* attr = std::get_if<AttentionAttr>(&node.attr))
    key += " " + std::to_string(attr->n_heads) + "/" + std::to_string(attr->n_kv_heads) + "/" +
           std::to_string(attr->head_dim) + (attr->window > 0 ? "/window" : "");
  for (const Dispatch& dispatch : step.dispatches)
    for (const std::uint32_t constant : dispatch.constants) key += " " + std::to_string(constant);
  return key;
}

/// Memory of one known answer on the device.
struct Placed {
  std::vector<std::unique_ptr<Buffer>> buffers;
  std::vector<BufferView> bindings;
  std::vector<std::vector<Buffer*>> pages;
  std::vector<std::size_t> offsets = std::vector<std::size_t>(8, 0);
  std::vector<StateBinding> states;
};

Status place(Backend& backend, const KnownAnswer& answer, Placed& placed) {
  placed.bindings.resize(answer.graph.values().size());
  std::size_t input = 0;
  const auto upload = [&](std::span<const std::byte> bytes) -> Result<Buffer*> {
    RUNNEL_ASSIGN(auto buffer, backend.allocate(bytes.size(), MemoryKind::device));
    RUNNEL_TRY(backend.upload({buffer.get(), 0, bytes.size()}, bytes));
    placed.buffers.push_back(std::move(buffer));
    return placed.buffers.back().get();
  };
  for (std::size_t id = 0; id < answer.graph.values().size(); ++id) {
    const Value& value = answer.graph.values()[id];
    BufferView& view = placed.bindings[id];
    if (value.role == Role::state) {
      placed.pages.emplace_back();
      for (int page = 0; page < 2; ++page) {
        RUNNEL_ASSIGN(Buffer* const buffer, upload(answer.inputs[input++]));
        placed.pages.back().push_back(buffer);
      }
    } else if (value.role == Role::weight) {
      RUNNEL_ASSIGN(auto weight, backend.place_weight(value, answer.inputs[input++]));
      view = {weight.get(), 0, weight->size()};
      placed.buffers.push_back(std::move(weight));
    } else {
      const bool given = value.role == Role::input;
      const std::size_t bytes = static_cast<std::size_t>(value.shape.elems()) * sizeof(float);
      const std::vector<std::byte> nothing(given ? 0 : bytes, std::byte{0xA5});
      RUNNEL_ASSIGN(Buffer* const buffer, upload(given ? answer.inputs[input++] : nothing));
      view = {buffer, 0, bytes};
    }
  }
  for (const auto& pages : placed.pages) placed.states.push_back({{}, pages, placed.offsets});
  return {};
}

}  // namespace

Certifier::Certifier(Backend& backend, Machine& machine, Log log)
    : backend_(backend),
      machine_(machine),
      log_(std::move(log)),
      path_(cache_path(machine.device.caps(), "verdicts")),
      broken_(env("RUNNEL_VULKAN_BREAK").value_or("")) {
  if (!broken_.empty()) path_.clear();  // what is learned now is not true of the driver
  const std::vector<std::byte> stored = read_cache_file(path_);
  const std::string text(reinterpret_cast<const char*>(stored.data()), stored.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (end > at) {
      const char mark = text[at];
      // A test that never came back took the process or the device with it.
      verdicts_[text.substr(at + 1, end - at - 1)] = mark == '+' ? Verdict::right : Verdict::wrong;
    }
    at = end + 1;
  }
}

void Certifier::remember(const std::string& key, Verdict verdict) {
  verdicts_[key] = verdict;
  if (path_.empty()) return;
  std::string text;
  for (const auto& [name, mark] : verdicts_) text += static_cast<char>(mark) + name + "\n";
  if (const Status written = write_cache_file(path_, std::as_bytes(std::span(text))); !written.ok())
    log_(LogLevel::debug, "vulkan_verdicts=unwritten ", written.message());
}

Result<Step> Certifier::prepare(const Row& row,
                                const Graph& graph,
                                const Node& node,
                                std::span<const BufferView> bindings) const {
  RUNNEL_ASSIGN(Step step, row.prepare(graph, node, bindings));
  if (row.name == broken_ && !step.dispatches.empty()) {
    std::vector<std::uint32_t>& push = step.dispatches.back().push;
    if (!push.empty()) push[0] -= push[0] > 1 ? 1 : 0;  // a group of weights, a column, a head less
  }
  return step;
}

Status Certifier::test(const Row& row, const Graph& graph, const Node& node) const {
  RUNNEL_ASSIGN(const KnownAnswer answer, known_answer(graph, node));
  Placed placed;
  RUNNEL_TRY(place(backend_, answer, placed));
  const Node& small = answer.graph.nodes().back();
  RUNNEL_ASSIGN(Step step, prepare(row, answer.graph, small, placed.bindings));
  // The pipelines of the real node: its sizes chose their constants.
  const std::vector<BufferView> nothing(graph.values().size());
  RUNNEL_ASSIGN(const Step real, row.prepare(graph, node, nothing));
  for (std::size_t i = 0; i < std::min(step.dispatches.size(), real.dispatches.size()); ++i)
    step.dispatches[i].constants = real.dispatches[i].constants;
  std::vector<PlannedStep> steps;
  steps.push_back({std::move(step), 0});
  RUNNEL_ASSIGN(auto executable,
                make_executable(machine_, answer.graph, {answer.graph.nodes(), placed.bindings},
                                std::move(steps)));
  RUNNEL_ASSIGN(Event* const done, executable->submit(answer.params, {placed.states}));
  RUNNEL_TRY(done->wait());
  std::vector<float> got(answer.expected.size());
  BufferView view = placed.bindings[static_cast<std::size_t>(small.out[0])];
  RUNNEL_TRY(backend_.download(std::as_writable_bytes(std::span(got)), view));
  return compare_answer(answer, got);
}

std::string Certifier::test_key(const Row& row, const Graph& graph, const Node& node) {
  if (!has_known_answer(node.op)) return {};
  // Rows of less than a few groups, in odd types, have no small problem like them.
  const Value& second = graph.value(node.in[1]);
  if (node.op != Op::attention && second.shape.cols() % 32 != 0) return {};
  const std::vector<BufferView> nothing(graph.values().size());
  const Result<Step> step = row.prepare(graph, node, nothing);
  if (!step.ok()) return {};  // compile() will say what is wrong
  return key_of(row, graph, node, *step);
}

bool Certifier::hopes(const Row& row, const Graph& graph, const Node& node) const {
  const auto known = verdicts_.find(test_key(row, graph, node));
  return known == verdicts_.end() || known->second == Verdict::right;
}

bool Certifier::trusts(const Row& row, const Graph& graph, const Node& node) {
  const std::string key = test_key(row, graph, node);
  if (key.empty()) return true;
  if (const auto known = verdicts_.find(key); known != verdicts_.end())
    return known->second == Verdict::right;
  remember(key, Verdict::trying);
  const Status status = test(row, graph, node);
  remember(key, status.ok() ? Verdict::right : Verdict::wrong);
  if (!status.ok())
    log_(LogLevel::warn, "vulkan kernel=\"", key, "\" verdict=quarantined device=\"",
         machine_.device.caps().name, "\" reason=\"", status.message(), "\"");
  return status.ok();
}

}  // namespace runnel::vulkan
