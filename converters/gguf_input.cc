#include "converters/gguf_input.h"

#include <optional>

#include "runtime/base/quote.h"
#include "runtime/io/gguf_split.h"

namespace runnel::converters {

std::vector<std::string> input_paths(const std::string& path) {
  const std::optional<ShardName> shards = parse_shard_name(path);
  if (!shards) return {path};
  std::vector<std::string> paths;
  for (int i = 0; i < shards->count; ++i) paths.push_back(shards->path(i));
  return paths;
}

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

RowSource rows_of(const GgufFile& file, std::size_t index, std::string_view name) {
  const GgufTensor& tensor = file.tensors()[index];
  RowSource rows;
  rows.name = name;
  rows.from = rows.to = tensor.dtype;
  rows.n_rows = tensor.shape.rows();
  rows.row_elems = tensor.shape.cols();
  const std::size_t row_bytes =
      quant::row_bytes(tensor.dtype, static_cast<std::size_t>(rows.row_elems));
  rows.row = [&file, index, row_bytes](std::int64_t row) {
    return file.tensors()[index].data.data() + static_cast<std::size_t>(row) * row_bytes;
  };
  return rows;
}

}  // namespace runnel::converters
