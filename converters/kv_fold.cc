#include "converters/kv_fold.h"

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "converters/gguf_input.h"
#include "converters/output.h"
#include "quant/codecs.h"
#include "quant/hadamard.h"
#include "runtime/base/quote.h"
#include "runtime/io/gguf.h"

namespace runnel::converters {
namespace {

constexpr std::int64_t kMaxLayers = 1024;
using quant::kKvChannels;

/// A whole tensor as f32, [n_rows, n_cols].
struct Matrix {
  std::int64_t n_rows = 0, n_cols = 0;
  std::vector<float> values;
};
using Change = std::function<void(Matrix&)>;

/// The changed tensor being written. Tensors are written one after the other, their rows are asked
/// for by several threads; so one is held at a time.
class ChangedTensor {
 public:
  const std::byte* row(const RowSource& source, const Change& change, std::int64_t row) {
    const std::lock_guard lock(mutex_);
    if (name_ != source.name) {
      load(source);
      change(matrix_);
      name_ = source.name;
    }
    return reinterpret_cast<const std::byte*>(matrix_.values.data() + row * matrix_.n_cols);
  }

 private:
  void load(const RowSource& source) {
    matrix_.n_rows = source.n_rows;
    matrix_.n_cols = source.row_elems;
    matrix_.values.resize(static_cast<std::size_t>(source.n_rows * source.row_elems));
    for (std::int64_t r = 0; r < source.n_rows; ++r)
      quant::codec(source.from)
          .decode_row(source.row(r), matrix_.values.data() + r * source.row_elems,
                      source.row_elems);
  }
  std::mutex mutex_;
  std::string name_;
  Matrix matrix_;
};

/// Row r times factors[r].
void scale_rows(Matrix& m, const std::vector<double>& factors) {
  for (std::int64_t r = 0; r < m.n_rows; ++r)
    for (std::int64_t c = 0; c < m.n_cols; ++c) {
      float& x = m.values[static_cast<std::size_t>(r * m.n_cols + c)];
      x = static_cast<float>(static_cast<double>(x) * factors[static_cast<std::size_t>(r)]);
    }
}

/// Every 64 values of a row, of all rows: W_o takes transformed values; so is a bias.
void transform_rows(Matrix& m, std::uint64_t signs) {
  for (std::size_t at = 0; at < m.values.size(); at += kKvChannels)
    quant::hadamard_64(m.values.data() + at, signs, quant::Direction::forward);
}

/// Every 64 values of a column: W_v makes transformed values.
void transform_columns(Matrix& m, std::uint64_t signs) {
  float column[kKvChannels];
  for (std::int64_t first = 0; first < m.n_rows; first += kKvChannels)
    for (std::int64_t c = 0; c < m.n_cols; ++c) {
      float* const top = m.values.data() + first * m.n_cols + c;
      for (std::int64_t i = 0; i < kKvChannels; ++i) column[i] = top[i * m.n_cols];
      quant::hadamard_64(column, signs, quant::Direction::forward);
      for (std::int64_t i = 0; i < kKvChannels; ++i) top[i * m.n_cols] = column[i];
    }
}

/// A vector of n values is a matrix of one row; its values scale like rows.
Change scaled(std::vector<double> factors) {
  return [factors = std::move(factors)](Matrix& m) {
    if (m.n_rows == 1) std::swap(m.n_rows, m.n_cols);
    scale_rows(m, factors);
  };
}

bool is_float(quant::DType type) {
  return type == quant::DType::f32 || type == quant::DType::f16 || type == quant::DType::bf16;
}

/// Which tensors of a file are changed, and how.
class Fold {
 public:
  Fold(const GgufFile& file, const AttentionShape& shape) : file_(file), shape_(shape) {}

  /// Gains of one layer. ERRORS: corrupt, unsupported, naming the tensor.
  Status balance(const LayerGains& layer) {
    const std::string block = "blk." + std::to_string(layer.layer) + ".attn_";
    const bool normed = file_.tensor(block + "k_norm.weight") != nullptr;
    const std::int64_t d = shape_.head_dim;
    if (normed && static_cast<std::int64_t>(layer.gains.size()) != d)
      return Status(Code::unsupported, block + "k_norm.weight is shared by all heads");
    // One factor for each value of the norm, or for each row of the product.
    std::vector<double> keys, queries;
    const std::int64_t n_k = normed ? 1 : layer.n_kv_heads, n_q = normed ? 1 : shape_.n_heads;
    const auto gain = [&](std::int64_t kv_head, std::int64_t i) {
      return layer.gains[static_cast<std::size_t>(kv_head * d + i) % layer.gains.size()];
    };
    for (std::int64_t i = 0; i < n_k * d; ++i) keys.push_back(gain(i / d, i % d));
    for (std::int64_t i = 0; i < n_q * d; ++i)
      queries.push_back(1 / gain(i / d / (n_q / n_k), i % d));
    if (normed) {
      RUNNEL_TRY(add(block + "k_norm.weight", d, scaled(std::move(keys))));
      return add(block + "q_norm.weight", d, scaled(std::move(queries)));
    }
    for (const char* part : {".weight", ".bias"}) {
      const bool is_bias = part[1] == 'b';
      if (is_bias && file_.tensor(block + "k" + part) == nullptr) continue;
      RUNNEL_TRY(add(block + "k" + part, n_k * d, scaled(keys)));
      RUNNEL_TRY(add(block + "q" + part, n_q * d, scaled(queries)));
    }
    return {};
  }

  /// The transform of the values of a layer, `ordinal` counted among attention layers.
  Status values(std::int64_t layer, std::int64_t ordinal) {
    const std::string block = "blk." + std::to_string(layer) + ".attn_";
    const std::uint64_t signs = quant::hadamard_signs(ordinal, 1);
    const auto rows = [signs](Matrix& m) { transform_rows(m, signs); };
    const auto columns = [signs](Matrix& m) { transform_columns(m, signs); };
    const GgufTensor& v = *file_.tensor(block + "v.weight");
    if (v.shape.rows() % kKvChannels != 0)
      return Status(Code::corrupt, "tensor " + block + "v.weight has shape " + v.shape.to_string());
    RUNNEL_TRY(add(block + "v.weight", v.shape.rows(), columns));
    if (const GgufTensor* bias = file_.tensor(block + "v.bias"); bias != nullptr)
      RUNNEL_TRY(add(block + "v.bias", bias->shape.elems(), rows));
    const GgufTensor* out = file_.tensor(block + "output.weight");
    return add(block + "output.weight", out == nullptr ? 0 : out->shape.rows(), rows,
               v.shape.rows());
  }

  const std::map<std::string, Change>& changes() const { return changes_; }

 private:
  /// `n`: rows of the matrix, or values of the vector, that there must be. `multiple`: of which the
  /// columns are one.
  Status add(const std::string& name, std::int64_t n, Change change, std::int64_t multiple = 1) {
    const GgufTensor* tensor = file_.tensor(name);
    if (tensor == nullptr) return Status(Code::not_found, "tensor " + name + " is missing");
    if (!is_float(tensor->dtype))
      return Status(Code::unsupported, "tensor " + name + " is quantised");
    const Shape& shape = tensor->shape;
    const std::int64_t found = shape.rank == 1 ? shape.elems() : shape.rows();
    if (shape.rank > 2 || found != n || shape.cols() % multiple != 0)
      return Status(Code::corrupt, "tensor " + name + " has shape " + shape.to_string());
    changes_[name] = std::move(change);
    return {};
  }

  const GgufFile& file_;
  const AttentionShape& shape_;
  std::map<std::string, Change> changes_;
};

/// ERRORS: corrupt; unsupported where weights are quantised.
Result<std::map<std::string, Change>> balance_all(const GgufFile& file,
                                                  const KvFoldOptions& options) {
  Fold fold(file, options.shape);
  for (const LayerGains& layer : options.gains) RUNNEL_TRY(fold.balance(layer));
  return fold.changes();
}

Result<std::map<std::string, Change>> fold_all(const GgufFile& file, const KvFoldOptions& options) {
  Fold fold(file, options.shape);
  std::int64_t ordinal = 0;
  for (std::int64_t layer = 0; layer < kMaxLayers; ++layer)
    if (file.tensor("blk." + std::to_string(layer) + ".attn_v.weight") != nullptr)
      RUNNEL_TRY(fold.values(layer, ordinal++));
  return fold.changes();
}

/// Takes what can be done over into `all`; what cannot be because weights are quantised becomes a
/// note. True when it was done.
Result<bool> take(Result<std::map<std::string, Change>> part,
                  const char* what,
                  std::map<std::string, Change>& all,
                  std::vector<std::string>& notes) {
  if (!part.ok() && part.status().code() != Code::unsupported) return part.status();
  if (!part.ok()) {
    notes.push_back(std::string(what) + ": " + part.status().message());
    return false;
  }
  all.merge(*part);
  return true;
}

}  // namespace

Result<ConvertSummary> fold_kv(const KvFoldOptions& options) {
  RUNNEL_ASSIGN(GgufFile file, GgufFile::open(options.in_path));
  // One file may be replaced by the new one, at once; a split one would lie beside it.
  const std::vector<std::string> inputs = input_paths(options.in_path);
  if (inputs.size() > 1) RUNNEL_TRY(check_not_input(options.out_path, inputs));
  RUNNEL_ASSIGN(const KvCalibration before, KvCalibration::read(file, options.shape.head_dim));
  RUNNEL_ASSIGN(const auto architecture, file.get_string("general.architecture"));
  ConvertSummary summary;
  summary.architecture = architecture.value_or("unknown");
  summary.recipe = "as before";
  KvCalibration record = options.record;
  record.v_folded = before.v_folded;
  record.balanced = before.balanced;
  std::map<std::string, Change> changes;
  RUNNEL_ASSIGN(const bool balanced,
                take(balance_all(file, options), "keys are not balanced", changes, summary.notes));
  record.balanced |= balanced && !changes.empty();
  if (options.fold_values && !before.v_folded) {
    RUNNEL_ASSIGN(record.v_folded,
                  take(fold_all(file, options), "values are not folded", changes, summary.notes));
  }

  GgufWriter writer;
  for (const GgufKey& key : file.keys())
    if (!is_kv_calibration_key(key.name)) writer.set_raw(key);
  record.write(writer);
  std::vector<std::string> names;  // the file's own text dies when it is opened again
  for (const GgufTensor& tensor : file.tensors()) names.emplace_back(tensor.name);
  std::vector<OutputTensor> outputs;
  const auto changed = std::make_shared<ChangedTensor>();  // shared by the sources of all rows
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Shape& shape = file.tensors()[i].shape;
    RowSource rows = rows_of(file, i, names[i]);
    if (const auto found = changes.find(names[i]); found != changes.end()) {
      rows.row = [changed, source = rows, change = found->second](std::int64_t row) {
        return changed->row(source, change, row);
      };
      rows.from = quant::DType::f32;
    }
    summary.n_parameters += shape.elems();
    outputs.push_back({shape, std::move(rows)});
  }
  summary.n_tensors = static_cast<std::int64_t>(outputs.size());
  OutputJob job{options.out_path, options.n_threads, options.progress, {}};
  job.release = [&file, &options] { return reopen(options.in_path, &file); };
  RUNNEL_TRY(write_output(writer, outputs, job));
  return summary;
}

}  // namespace runnel::converters
