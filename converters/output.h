// The part convert and quantize share: from planned tensors to a complete file.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "converters/row_writer.h"
#include "runtime/base/shape.h"
#include "runtime/base/status.h"
#include "runtime/io/gguf_writer.h"

namespace runnel::converters {

/// One tensor on its way; `rows.name` borrows from the caller.
struct OutputTensor {
  Shape shape;
  RowSource rows;
};

/// How to run.
struct OutputJob {
  std::string path;
  int n_threads = 0;                // 0: all performance cores
  Progress progress;                // may be empty
  std::function<Status()> release;  // may be empty
};

/// Declares and writes all tensors to job.path, complete or not at all. ERRORS: as RowWriter and
/// GgufWriter.
Status write_output(GgufWriter& writer,
                    std::span<const OutputTensor> tensors,
                    const OutputJob& job);

/// invalid_argument when `out` names one of the `inputs`, also through links.
Status check_not_input(const std::string& out, std::span<const std::string> inputs);

}  // namespace runnel::converters
