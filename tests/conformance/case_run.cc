#include "tests/conformance/case_run.h"

#include <algorithm>
#include <cstring>

#include "quant/codecs.h"
#include "runtime/backend/host_buffer.h"

namespace runnel::conformance {
namespace {

// Guard bytes before and after every operand.
constexpr std::size_t kGuard = 64;
constexpr std::byte kGuardByte{0xA5};

/// Memory, graph and executable of one case on one backend.
class CaseRun {
 public:
  CaseRun(Backend& backend, const Case& one, const CaseData& data)
      : backend_(backend), case_(one), data_(data), graph_(one.max_tokens) {}

  Status build(Form form);
  Status place(Form form);
  Status run();
  Result<std::vector<Tensor>> results();

 private:
  Status place_operand(std::size_t i);
  Status place_state(std::size_t i);
  Status place_result(ValueId id);
  Result<BufferView> guarded(const Bytes& content);
  Result<Tensor> read_tiles(const Value& value, BufferView view);
  Result<Tensor> read(const Value& value, BufferView view, std::size_t n_rows);
  Status check_guards();

  struct Pages {
    std::vector<std::unique_ptr<Buffer>> owned;
    std::vector<std::byte*> host;
    std::vector<Buffer*> buffers;
    std::vector<std::size_t> offsets;
  };
  Backend& backend_;
  const Case& case_;
  const CaseData& data_;
  Graph graph_;
  std::vector<std::unique_ptr<Buffer>> mapped_, owned_;  // weights as in a file; everything else
  std::vector<BufferView> bindings_, guarded_;
  std::vector<Pages> states_;
};

Status CaseRun::build(Form form) {
  std::vector<ValueId> in;
  for (const Operand& operand : case_.in) {
    Value value;
    value.name = "in" + std::to_string(in.size());
    value.shape = operand.shape;
    value.dtype = operand.dtype;
    value.role = operand.role;
    value.per_token = operand.role == Role::input && operand.per_token;
    if (operand.role == Role::state)
      in.push_back(
          graph_.add_state(value.name, value.shape, value.dtype, operand.state, operand.kv));
    else
      in.push_back(graph_.add_value(value));
  }
  RUNNEL_TRY(graph_.add_node(case_.op, in, case_.attr, "node").status());
  const Node node = graph_.nodes().back();
  for (ValueId id : node.out) graph_.mark_output(id);
  if (form == Form::decomposed) {
    graph_.set_nodes({});
    schema(case_.op).decompose(graph_, node);
  }
  for (const Node& part : graph_.nodes())
    if (!backend_.supports(graph_, part)) return {Code::unsupported, "no kernel"};
  return {};
}

Result<BufferView> CaseRun::guarded(const Bytes& content) {
  const std::size_t total = kGuard + align_up(content.size(), kGuard) + kGuard;
  RUNNEL_ASSIGN(auto buffer, backend_.allocate(total, MemoryKind::device));
  Bytes all(total, kGuardByte);
  std::copy(content.begin(), content.end(), all.begin() + kGuard);
  RUNNEL_TRY(backend_.upload({buffer.get(), 0, total}, all));
  const BufferView view{buffer.get(), kGuard, content.size()};
  owned_.push_back(std::move(buffer));
  guarded_.push_back(view);
  return view;
}

Status CaseRun::place_operand(std::size_t i) {
  const Bytes& bytes = data_.parts[i][0];
  if (case_.in[i].role == Role::input) {
    RUNNEL_ASSIGN(bindings_[i], guarded(bytes));
    return {};
  }
  // As aligned as tensors in a mapped model file are, at least.
  RUNNEL_ASSIGN(auto mapped, HostBuffer::allocate(bytes.size()));
  std::copy(bytes.begin(), bytes.end(), mapped->host());
  const std::span<const std::byte> view(mapped->host(), bytes.size());
  RUNNEL_ASSIGN(auto placed, backend_.place_weight(graph_.value(static_cast<ValueId>(i)), view));
  bindings_[i] = {placed.get(), 0, placed->size()};
  mapped_.push_back(std::move(mapped));
  owned_.push_back(std::move(placed));
  return {};
}

Status CaseRun::place_state(std::size_t i) {
  Pages pages;
  for (const Bytes& content : data_.parts[i]) {
    RUNNEL_ASSIGN(const BufferView view, guarded(content));
    pages.host.push_back(view.host());
    pages.buffers.push_back(view.buffer);
    pages.offsets.push_back(view.offset);
  }
  states_.push_back(std::move(pages));
  return {};
}

Status CaseRun::place_result(ValueId id) {
  const Value& value = graph_.value(id);
  const Bytes nothing(bytes_of(value.shape, value.dtype), kGuardByte);
  RUNNEL_ASSIGN(bindings_[static_cast<std::size_t>(id)], guarded(nothing));
  return {};
}

Status CaseRun::place(Form form) {
  bindings_.resize(graph_.values().size());
  for (std::size_t i = 0; i < case_.in.size(); ++i)
    RUNNEL_TRY(case_.in[i].role == Role::state ? place_state(i) : place_operand(i));
  for (std::size_t id = case_.in.size(); id < bindings_.size(); ++id)
    RUNNEL_TRY(place_result(static_cast<ValueId>(id)));
  if (form == Form::in_place)
    bindings_[static_cast<std::size_t>(graph_.nodes()[0].out[0])] = bindings_[0];
  return {};
}

Status CaseRun::run() {
  RUNNEL_ASSIGN(auto executable, backend_.compile(graph_, {graph_.nodes(), bindings_}));
  std::vector<StateBinding> states;
  for (const Pages& pages : states_) states.push_back({pages.host, pages.buffers, pages.offsets});
  RUNNEL_ASSIGN(Event * done, executable->submit(case_.params, {states}));
  return done->wait();
}

/// The bytes of a page as they are.
Result<Tensor> CaseRun::read_tiles(const Value& value, BufferView view) {
  Bytes bytes(view.size);
  RUNNEL_TRY(backend_.download(bytes, view));
  Tensor tensor;
  tensor.name = value.name;
  tensor.is_state = true;
  tensor.i32.resize(bytes.size() / sizeof(std::int32_t));
  std::memcpy(tensor.i32.data(), bytes.data(), bytes.size());
  return tensor;
}

Result<Tensor> CaseRun::read(const Value& value, BufferView view, std::size_t n_rows) {
  if (value.kv != quant::KvFormat::plain) return read_tiles(value, view);
  const std::int64_t cols = value.shape.elems() / value.shape[0];
  const std::size_t elems = n_rows * static_cast<std::size_t>(cols);
  Bytes bytes(quant::row_bytes(value.dtype, elems));
  RUNNEL_TRY(backend_.download(bytes, view));
  Tensor tensor;
  tensor.name = value.name;
  tensor.cols = cols;
  tensor.is_state = value.role == Role::state;
  if (value.dtype == DType::i32) {
    tensor.i32.resize(elems);
    std::memcpy(tensor.i32.data(), bytes.data(), bytes.size());
  } else {
    tensor.f32.resize(elems);
    quant::codec(value.dtype)
        .decode_row(bytes.data(), tensor.f32.data(), static_cast<std::int64_t>(elems));
  }
  return tensor;
}

Status CaseRun::check_guards() {
  for (const BufferView& view : guarded_) {
    Bytes all(view.buffer->size());
    RUNNEL_TRY(backend_.download(all, {view.buffer, 0, all.size()}));
    const auto data = all.begin() + kGuard;
    const auto intact = [](std::byte b) { return b == kGuardByte; };
    if (!std::all_of(all.begin(), data, intact) ||
        !std::all_of(data + static_cast<std::ptrdiff_t>(view.size), all.end(), intact))
      return {Code::internal, "memory beside an operand was written"};
  }
  return {};
}

Result<std::vector<Tensor>> CaseRun::results() {
  RUNNEL_TRY(check_guards());
  std::vector<Tensor> tensors;
  for (std::size_t id = 0; id < graph_.values().size(); ++id) {
    const Value& value = graph_.values()[id];
    if (value.role == Role::output) {
      const std::int64_t rows = graph_.rows_in_step(value, case_.params.n_tokens);
      RUNNEL_ASSIGN(Tensor tensor, read(value, bindings_[id], static_cast<std::size_t>(rows)));
      tensors.push_back(std::move(tensor));
    }
    if (value.role != Role::state) continue;
    const Pages& pages = states_[static_cast<std::size_t>(value.state_index)];
    for (std::size_t page = 0; page < pages.buffers.size(); ++page) {
      const BufferView view{pages.buffers[page], pages.offsets[page],
                            bytes_of(value.shape, value.dtype, value.kv)};
      RUNNEL_ASSIGN(Tensor tensor, read(value, view, static_cast<std::size_t>(value.shape[0])));
      tensor.name += " page " + std::to_string(page);
      tensors.push_back(std::move(tensor));
    }
  }
  return tensors;
}

}  // namespace

Result<std::vector<Tensor>> run_case(Backend& backend,
                                     const Case& one,
                                     const CaseData& data,
                                     Form form) {
  CaseRun run(backend, one, data);
  RUNNEL_TRY(run.build(form));
  RUNNEL_TRY(run.place(form));
  RUNNEL_TRY(run.run());
  return run.results();
}

}  // namespace runnel::conformance
