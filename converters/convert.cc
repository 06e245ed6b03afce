#include "converters/convert.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "converters/hf_text.h"
#include "converters/output.h"
#include "converters/registry.h"
#include "converters/tensor_roles.h"
#include "quant/mix.h"
#include "quant/spread.h"
#include "runtime/base/quote.h"

namespace runnel::converters {
namespace {

// The last part of config.json's _name_or_path, else the directory's name.
Result<std::string> model_name(const Fields& config, const std::string& dir) {
  RUNNEL_ASSIGN(const auto stored, config.get_string("_name_or_path"));
  for (const std::string& path : {stored.value_or(""), dir}) {
    std::error_code error;
    std::filesystem::path p = path;
    if (path == dir) p = std::filesystem::canonical(path, error);
    if (!p.has_filename()) p = p.parent_path();
    std::string name = p.filename().string();
    if (!name.empty() && name != "." && name != "..") return name;
  }
  return std::string("model");
}

quant::DType source_type(const PlannedTensor& tensor) {
  return tensor.pieces.empty() ? quant::DType::f32 : *tensor.pieces.front().tensor->dtype;
}

// The format that most of the weights have.
std::string_view main_source_type(const std::vector<PlannedTensor>& tensors) {
  std::array<std::int64_t, quant::kDTypes.size()> elems{};
  for (const PlannedTensor& tensor : tensors)
    elems[static_cast<std::size_t>(source_type(tensor))] += tensor.shape.elems();
  const auto most = std::ranges::max_element(elems) - elems.begin();
  return quant::kDTypes[static_cast<std::size_t>(most)].name;
}

RowSource row_source(const Checkpoint& checkpoint, const PlannedTensor& tensor, quant::DType to) {
  RowSource rows;
  rows.name = tensor.name;
  rows.from = source_type(tensor);
  rows.to = to;
  rows.n_rows = tensor.shape.rows();
  rows.row_elems = tensor.shape.cols();
  rows.row = [&checkpoint, &tensor](std::int64_t row) {
    if (!tensor.pieces.empty()) return source_row(checkpoint, tensor, row);
    return reinterpret_cast<const std::byte*>(tensor.values.data() + row * tensor.shape.cols());
  };
  return rows;
}

Status check_quantization(const Fields& config) {
  if (config.find("quantization_config") == nullptr) return {};
  return Status(Code::unsupported,
                "config.json: 'quantization_config': the weights are quantised already");
}

std::vector<OutputTensor> assign_types(const ModelPlan& plan,
                                       const Checkpoint& checkpoint,
                                       const quant::Recipe& recipe) {
  std::vector<std::string_view> names;
  for (const PlannedTensor& tensor : plan.tensors) names.push_back(tensor.name);
  const TensorRoles roles(names);
  std::vector<quant::MixedTensor> mixed;
  for (const PlannedTensor& tensor : plan.tensors) {
    const quant::TensorRole role = roles.role(tensor.name, tensor.shape, source_type(tensor));
    mixed.push_back({role, tensor.shape.rows(), quant::tensor_type(recipe, role)});
  }
  quant::spread_bits(recipe, mixed);
  std::vector<OutputTensor> outputs;
  for (std::size_t i = 0; i < mixed.size(); ++i)
    outputs.push_back(
        {plan.tensors[i].shape, row_source(checkpoint, plan.tensors[i], mixed[i].type)});
  return outputs;
}

}  // namespace

Result<ConvertSummary> convert(const ConvertOptions& options) {
  if (!options.recipe.empty()) {  // before any work
    RUNNEL_ASSIGN([[maybe_unused]] const auto* known, usable_recipe(options.recipe));
  }
  RUNNEL_ASSIGN(const Json json, read_json(options.hf_dir, "config.json"));
  RUNNEL_ASSIGN(const Fields config, text_config(json));
  RUNNEL_TRY(check_quantization(config));
  RUNNEL_ASSIGN(const HfArch* arch, find_hf_arch(json));
  RUNNEL_ASSIGN(const std::string name, model_name(config, options.hf_dir));
  RUNNEL_ASSIGN(Checkpoint checkpoint, Checkpoint::open(options.hf_dir));
  RUNNEL_TRY(check_not_input(options.out_path, checkpoint.paths()));

  GgufWriter writer;
  writer.set_string("general.architecture", arch->gguf_name);
  writer.set_string("general.type", "model");
  writer.set_string("general.name", name);
  RUNNEL_ASSIGN(const ModelPlan plan, arch->plan(config, checkpoint, writer));
  const std::string_view wanted =
      options.recipe.empty() ? main_source_type(plan.tensors) : options.recipe;
  RUNNEL_ASSIGN(const quant::Recipe* recipe, usable_recipe(wanted));
  writer.set_u32("general.file_type", recipe->gguf_file_type);
  writer.set_u32("general.quantization_version", 2);
  RUNNEL_ASSIGN(std::vector<std::string> notes,
                set_text_keys(options.hf_dir, config, plan.n_vocab, arch->pre_tokenizer, writer));
  notes.insert(notes.begin(), plan.notes.begin(), plan.notes.end());
  for (const std::string& note : notes) options.log(LogLevel::warn, note);

  const std::vector<OutputTensor> outputs = assign_types(plan, checkpoint, *recipe);
  OutputJob job{options.out_path, options.n_threads, options.progress, {}};
  job.release = [&checkpoint] { return checkpoint.reopen(); };
  RUNNEL_TRY(write_output(writer, outputs, job));

  ConvertSummary summary;
  summary.architecture = arch->gguf_name;
  summary.recipe = recipe->name;
  summary.n_tensors = static_cast<std::int64_t>(outputs.size());
  for (const OutputTensor& tensor : outputs) summary.n_parameters += tensor.shape.elems();
  summary.notes = std::move(notes);
  return summary;
}

Status check_recipe(std::string_view name) {
  return usable_recipe(name).status();
}

}  // namespace runnel::converters
