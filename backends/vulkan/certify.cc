#include "backends/vulkan/certify.h"

#include <algorithm>
#include <cstring>

#include "backends/vulkan/disk_cache.h"
#include "backends/vulkan/known_answer.h"
#include "backends/vulkan/steps/steps.h"
#include "runtime/base/env.h"

namespace runnel::vulkan {
/// Memory of one known answer on the device.
struct Placed {
  std::vector<std::unique_ptr<Buffer>> buffers;
  std::vector<BufferView> bindings;
  std::vector<std::vector<Buffer*>> pages;
  std::vector<std::size_t> offsets = std::vector<std::size_t>(8, 0);
  std::vector<StateBinding> states;
};

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

/// Those of the dispatch that does a product and its convolution, as a row of bytes or of numbers.
std::vector<std::uint32_t> conv_constants(const Graph& graph,
                                          std::span<const Node> nodes,
                                          bool bytes) {
  const std::vector<BufferView> nothing(graph.values().size());
  steps::ReadyProduct ready;
  ready.product = {nodes[0].in[0], nodes[1].out[0], kNoValue, kNoValue, 0, &nodes[1]};
  const Result<Step> step = bytes ? steps::ready_product(graph, nodes[0], nothing, ready)
                                  : steps::row_product(graph, nodes[0], nothing, ready.product);
  return step.ok() ? step->dispatches[0].constants : std::vector<std::uint32_t>{};
}

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

/// Leaves out a group of weights, a column or a head.
void Certifier::break_on_purpose(std::string_view name, Dispatch& dispatch) const {
  if (name == broken_ && !dispatch.push.empty() && dispatch.push[0] > 1) --dispatch.push[0];
}

Result<Step> Certifier::prepare(const Row& row,
                                const Graph& graph,
                                const Node& node,
                                std::span<const BufferView> bindings) const {
  RUNNEL_ASSIGN(Step step, row.prepare(graph, node, bindings));
  if (!step.dispatches.empty()) break_on_purpose(row.name, step.dispatches.back());
  return step;
}

Status Certifier::run_answer(const KnownAnswer& answer, Placed& placed, StepPlan plan) const {
  RUNNEL_ASSIGN(auto executable,
                make_executable(machine_, answer.graph, {answer.graph.nodes(), placed.bindings},
                                std::move(plan)));
  RUNNEL_ASSIGN(Event* const done, executable->submit(answer.params, {placed.states}));
  RUNNEL_TRY(done->wait());
  std::vector<float> got(answer.expected.size());
  const ValueId out = answer.graph.nodes().back().out[0];
  RUNNEL_TRY(backend_.download(std::as_writable_bytes(std::span(got)),
                               placed.bindings[static_cast<std::size_t>(out)]));
  return compare_answer(answer, got);
}

Status Certifier::test(const Row& row, const Graph& graph, const Node& node) const {
  RUNNEL_ASSIGN(const KnownAnswer answer, known_answer(graph, node));
  Placed placed;
  RUNNEL_TRY(place(backend_, answer, placed));
  RUNNEL_ASSIGN(Step step,
                prepare(row, answer.graph, answer.graph.nodes().back(), placed.bindings));
  // The pipelines of the real node: its sizes chose their constants.
  const std::vector<BufferView> nothing(graph.values().size());
  RUNNEL_ASSIGN(const Step real, row.prepare(graph, node, nothing));
  for (std::size_t i = 0; i < std::min(step.dispatches.size(), real.dispatches.size()); ++i)
    step.dispatches[i].constants = real.dispatches[i].constants;
  StepPlan plan;
  plan.steps.push_back({std::move(step), 0});
  return run_answer(answer, placed, std::move(plan));
}

Status Certifier::test_fused(const Graph& graph,
                             std::span<const Node> nodes,
                             const Plan& plan) const {
  RUNNEL_ASSIGN(const KnownAnswer answer, fused_answer(graph, nodes));
  Placed placed;
  RUNNEL_TRY(place(backend_, answer, placed));
  RUNNEL_ASSIGN(StepPlan made, plan(answer.graph, {answer.graph.nodes(), placed.bindings}));
  bool fused = false;
  for (PlannedStep& planned : made.steps)
    for (Dispatch& dispatch : planned.step.dispatches) {
      if (dispatch.shader.ends_with(".conv")) {
        dispatch.constants =
            conv_constants(graph, nodes, dispatch.shader.starts_with("matvec_ready"));
        break_on_purpose("conv", dispatch);
      } else if (dispatch.shader.starts_with("attention_step")) {
        break_on_purpose("attention step", dispatch);
      } else {
        continue;
      }
      fused = true;
    }
  if (!fused) return {Code::unsupported, "its products are not trusted"};
  return run_answer(answer, placed, std::move(made));
}

bool Certifier::trusts_fused(const Graph& graph, std::span<const Node> nodes, const Plan& plan) {
  const bool conv = nodes.size() == 2;
  std::string key = conv ? "conv" : "attention step";
  if (conv) {
    const bool bytes = machine_.device.caps().integer_dot && steps::is_dot_product(graph, nodes[0]);
    key += " " + std::string(quant::info(graph.value(nodes[0].in[1]).dtype).name);
    for (const std::uint32_t constant : conv_constants(graph, nodes, bytes))
      key += " " + std::to_string(constant);
  } else {
    const auto* heads = std::get_if<AttentionAttr>(&nodes[3].attr);
    const auto* rope = std::get_if<RopeAttr>(&nodes[0].attr);
    if (heads == nullptr || rope == nullptr) return false;
    for (const int n : {heads->n_heads, heads->n_kv_heads, heads->head_dim, rope->rotary_dim})
      key += " " + std::to_string(n);
    if (nodes[0].op == Op::rms_norm_rope) key += " norm";
    if (rope->style == RopeStyle::interleaved) key += " interleaved";
    if (heads->window > 0) key += " window";
  }
  return verdict(key, [&] { return test_fused(graph, nodes, plan); });
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
  return verdict(key, [&] { return test(row, graph, node); });
}

bool Certifier::verdict(const std::string& key, const std::function<Status()>& test) {
  if (const auto known = verdicts_.find(key); known != verdicts_.end())
    return known->second == Verdict::right;
  remember(key, Verdict::trying);
  const Status status = test();
  remember(key, status.ok() ? Verdict::right : Verdict::wrong);
  if (!status.ok())
    log_(LogLevel::warn, "vulkan kernel=\"", key, "\" verdict=quarantined device=\"",
         machine_.device.caps().name, "\" reason=\"", status.message(), "\"");
  return status.ok();
}

}  // namespace runnel::vulkan
