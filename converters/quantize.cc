#include "converters/quantize.h"

#include <array>

#include "converters/gguf_input.h"
#include "converters/imatrix.h"
#include "converters/output.h"
#include "converters/tensor_roles.h"
#include "quant/mix.h"
#include "quant/spread.h"
#include "runtime/base/quote.h"
#include "runtime/io/gguf.h"

namespace runnel::converters {
namespace {

Result<std::string> architecture_of(const GgufFile& file) {
  RUNNEL_ASSIGN(const auto name, file.get_string("general.architecture"));
  return std::string(name.value_or("unknown"));
}

/// What `imatrix` knows of a weight, as RowSource wants it. Experts that no text has reached count
/// all channels alike.
Status set_importance(const Imatrix& imatrix, const Shape& shape, RowSource& rows) {
  const Imatrix::Entry* entry = imatrix.find(rows.name);
  if (entry == nullptr) return {};
  const std::int64_t n_matrices = shape.rank == 3 ? shape[0] : 1;
  if (entry->n_in != rows.row_elems || entry->n_matrices != n_matrices)
    return Status(Code::invalid_argument, "the importance matrix is of another model: tensor " +
                                              runnel::quote(rows.name) + " has shape " +
                                              shape.to_string());
  rows.rows_per_matrix = rows.n_rows / n_matrices;
  for (std::int64_t m = 0; m < n_matrices; ++m) {
    std::vector<float> means = entry->means(m);
    means.resize(static_cast<std::size_t>(rows.row_elems), 1.0f);
    rows.importance.insert(rows.importance.end(), means.begin(), means.end());
  }
  return {};
}

/// Says in the file where its roundings come from. SOURCE of the keys: quantize.cpp of
/// ggml-org/llama.cpp.
void describe(const Imatrix& imatrix, const std::string& path, GgufWriter& writer) {
  const std::size_t slash = path.find_last_of('/');
  writer.set_string("quantize.imatrix.file",
                    slash == std::string::npos ? path : path.substr(slash + 1));
  if (!imatrix.datasets.empty())
    writer.set_string("quantize.imatrix.dataset", imatrix.datasets.front());
  writer.set_u32("quantize.imatrix.entries_count",
                 static_cast<std::uint32_t>(imatrix.entries.size()));
  writer.set_u32("quantize.imatrix.chunks_count", imatrix.n_chunks);
}

bool is_rounded(const RowSource& rows) {
  return rows.from != rows.to && quant::info(rows.to).scheme != quant::Scheme::plain;
}

}  // namespace

Result<ConvertSummary> quantize(const QuantizeOptions& options) {
  RUNNEL_ASSIGN(const quant::Recipe* recipe, usable_recipe(options.recipe));
  RUNNEL_ASSIGN(GgufFile file, GgufFile::open(options.in_path));
  RUNNEL_TRY(check_not_input(options.out_path, input_paths(options.in_path)));
  RUNNEL_ASSIGN(std::string architecture, architecture_of(file));

  GgufWriter writer;
  for (const GgufKey& key : file.keys()) writer.set_raw(key);  // leaves out alignment and split
  writer.set_u32("general.file_type", recipe->gguf_file_type);
  writer.set_u32("general.quantization_version", 2);
  Imatrix imatrix;
  if (!options.imatrix_path.empty()) {
    RUNNEL_ASSIGN(imatrix, Imatrix::read(options.imatrix_path));
    describe(imatrix, options.imatrix_path, writer);
  }

  std::vector<std::string> names;  // the file's own text dies when it is opened again
  for (const GgufTensor& tensor : file.tensors()) names.emplace_back(tensor.name);
  const std::vector<std::string_view> views(names.begin(), names.end());
  const TensorRoles roles(views);
  std::vector<quant::MixedTensor> mixed;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const GgufTensor& tensor = file.tensors()[i];
    const quant::TensorRole role = roles.role(names[i], tensor.shape, tensor.dtype);
    mixed.push_back({role, tensor.shape.rows(), quant::tensor_type(*recipe, role)});
  }
  quant::spread_bits(*recipe, mixed);
  std::vector<OutputTensor> outputs;
  ConvertSummary summary;
  summary.architecture = std::move(architecture);
  summary.recipe = recipe->name;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const GgufTensor& tensor = file.tensors()[i];
    RowSource rows = rows_of(file, i, names[i]);
    rows.to = mixed[i].type;
    if (!imatrix.entries.empty() && is_rounded(rows)) {
      RUNNEL_TRY(set_importance(imatrix, tensor.shape, rows));
      if (rows.importance.empty())
        summary.notes.push_back("the importance matrix does not know " + runnel::quote(rows.name));
    }
    outputs.push_back({tensor.shape, std::move(rows)});
    summary.n_parameters += tensor.shape.elems();
  }
  summary.n_tensors = static_cast<std::int64_t>(outputs.size());
  OutputJob job{options.out_path, options.n_threads, options.progress, {}};
  job.release = [&file, &options] { return reopen(options.in_path, &file); };
  RUNNEL_TRY(write_output(writer, outputs, job));
  return summary;
}

}  // namespace runnel::converters
