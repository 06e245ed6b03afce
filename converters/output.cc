#include "converters/output.h"

#include <algorithm>
#include <filesystem>

#include "runtime/base/cores.h"
#include "runtime/base/quote.h"

namespace runnel::converters {

Status check_not_input(const std::string& out, std::span<const std::string> inputs) {
  if (out.empty()) return Status(Code::invalid_argument, "no output file given");
  std::error_code error;
  for (const std::string& input : inputs)
    if (std::filesystem::equivalent(out, input, error))
      return Status(Code::invalid_argument,
                    runnel::quote(out) + " is the input; choose another name");
  return {};
}

Status write_output(GgufWriter& writer,
                    std::span<const OutputTensor> tensors,
                    const OutputJob& job) {
  std::uint64_t total_bytes = 0;
  for (const OutputTensor& tensor : tensors) {
    const RowSource& rows = tensor.rows;
    RUNNEL_TRY(writer.add_tensor(rows.name, rows.to, tensor.shape));
    total_bytes += static_cast<std::uint64_t>(rows.n_rows) *
                   quant::row_bytes(rows.from, static_cast<std::size_t>(rows.row_elems));
  }
  RUNNEL_TRY(writer.begin_file(job.path));
  const int n_threads = job.n_threads > 0 ? std::min(job.n_threads, 64) : performance_cores();
  RowWriter row_writer(writer, n_threads, total_bytes, job.progress, job.release);
  for (const OutputTensor& tensor : tensors) RUNNEL_TRY(row_writer.write(tensor.rows));
  return writer.finish();
}

}  // namespace runnel::converters
