#include "converters/quantize.h"

#include <array>

#include "converters/output.h"
#include "converters/tensor_roles.h"
#include "quant/mix.h"
#include "runtime/base/quote.h"
#include "runtime/io/gguf.h"
#include "runtime/io/gguf_split.h"

namespace runnel::converters {
namespace {

std::vector<std::string> input_paths(const std::string& path) {
  const std::optional<ShardName> shards = parse_shard_name(path);
  if (!shards) return {path};
  std::vector<std::string> paths;
  for (int i = 0; i < shards->count; ++i) paths.push_back(shards->path(i));
  return paths;
}

// Opens the file again, which gives the pages touched so far back to the system.
Status reopen(const std::string& path, GgufFile* file) {
  const GgufFile before = *file;  // shares the maps until the new ones are there
  RUNNEL_ASSIGN(*file, GgufFile::open(path));
  const auto& then = before.tensors();
  const auto& now = file->tensors();
  bool same = then.size() == now.size();
  for (std::size_t i = 0; same && i < now.size(); ++i)
    same = then[i].name == now[i].name && then[i].dtype == now[i].dtype &&
           then[i].shape == now[i].shape;
  if (same) return {};
  return Status(Code::corrupt, runnel::quote(path) + " changed while it was read");
}

Result<std::string> architecture_of(const GgufFile& file) {
  RUNNEL_ASSIGN(const auto name, file.get_string("general.architecture"));
  return std::string(name.value_or("unknown"));
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

  std::vector<std::string> names;  // the file's own text dies when it is opened again
  for (const GgufTensor& tensor : file.tensors()) names.emplace_back(tensor.name);
  const std::vector<std::string_view> views(names.begin(), names.end());
  const TensorRoles roles(views);
  std::vector<OutputTensor> outputs;
  ConvertSummary summary;
  summary.architecture = std::move(architecture);
  summary.recipe = recipe->name;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const GgufTensor& tensor = file.tensors()[i];
    RowSource rows;
    rows.name = names[i];
    rows.from = tensor.dtype;
    rows.to = quant::tensor_type(*recipe, roles.role(names[i], tensor.shape, tensor.dtype));
    rows.n_rows = tensor.shape.rows();
    rows.row_elems = tensor.shape.cols();
    const std::size_t row_bytes =
        quant::row_bytes(tensor.dtype, static_cast<std::size_t>(rows.row_elems));
    rows.row = [&file, i, row_bytes](std::int64_t row) {
      return file.tensors()[i].data.data() + static_cast<std::size_t>(row) * row_bytes;
    };
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
