// A GGUF model as the source of another one: its files, its rows, its pages.
#pragma once
#include <string>
#include <vector>

#include "converters/row_writer.h"
#include "runtime/base/status.h"
#include "runtime/io/gguf.h"

namespace runnel::converters {

/// All files of the model that `path` is one of.
std::vector<std::string> input_paths(const std::string& path);

/// Opens the file again, which gives the pages touched so far back to the system. ERRORS: as
/// GgufFile::open; corrupt when its tensors are others now.
Status reopen(const std::string& path, GgufFile* file);

/// The rows of tensor number `index`, to be written as they are. `name` and `file` are borrowed;
/// `file` may be opened again.
RowSource rows_of(const GgufFile& file, std::size_t index, std::string_view name);

}  // namespace runnel::converters
