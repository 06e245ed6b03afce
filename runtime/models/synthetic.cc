#include "runtime/models/synthetic.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "quant/codecs.h"
#include "quant/mix.h"
#include "runtime/io/gguf_writer.h"
#include "runtime/models/config_reader.h"

namespace runnel {
namespace {

constexpr std::int64_t kVocab = 65536, kHeadDim = 64, kConvKernel = 3;
constexpr int kAttention16[] = {2, 5, 8, 10, 12, 14};
constexpr int kAttention30[] = {2, 5, 9, 13, 17, 21, 24, 27};

/// Normal values from a counter (SOURCE: splitmix64, Steele et al. 2014; sum of uniforms).
class Noise {
 public:
  float next() {
    float sum = 0.0f;
    for (int i = 0; i < 4; ++i) sum += static_cast<float>(bits() >> 40) * 0x1p-24f - 0.5f;
    return sum * 1.7320508f;  // four uniforms have variance 1/3
  }

 private:
  std::uint64_t bits() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  std::uint64_t state_ = 0;
};

struct TensorSpec {
  std::string name;
  Shape shape;
  quant::DType dtype = quant::DType::f32;
};

/// Names, shapes and formats of all tensors.
class TensorList {
 public:
  TensorList(const SyntheticShape& shape, const quant::Recipe& recipe)
      : shape_(shape), recipe_(recipe) {}

  std::vector<TensorSpec> build() {
    const std::int64_t d = shape_.d_model;
    add("token_embd.weight", {kVocab, d});
    add("token_embd_norm.weight", {d});
    for (layer_ = 0; layer_ < shape_.n_layers; ++layer_) {
      const auto found = std::ranges::find(shape_.attention_layers, static_cast<int>(layer_));
      ordinal_ = found == shape_.attention_layers.end()
                     ? -1
                     : static_cast<int>(found - shape_.attention_layers.begin());
      add_layer();
    }
    return std::move(specs_);
  }

 private:
  void add_layer() {
    const std::int64_t d = shape_.d_model, kv = shape_.n_kv_heads * kHeadDim;
    block("attn_norm.weight", {d});
    block("ffn_norm.weight", {d});
    if (ordinal_ >= 0) {
      block("attn_q.weight", {shape_.n_heads * kHeadDim, d});
      block("attn_k.weight", {kv, d});
      block("attn_v.weight", {kv, d});
      block("attn_output.weight", {d, shape_.n_heads * kHeadDim});
      block("attn_q_norm.weight", {kHeadDim});
      block("attn_k_norm.weight", {kHeadDim});
    } else {
      block("shortconv.in_proj.weight", {3 * d, d});
      block("shortconv.conv.weight", {d, kConvKernel});
      block("shortconv.out_proj.weight", {d, d});
    }
    block("ffn_gate.weight", {shape_.d_ff, d});
    block("ffn_up.weight", {shape_.d_ff, d});
    block("ffn_down.weight", {d, shape_.d_ff});
  }
  void block(std::string_view part, const Shape& shape) {
    add(block_tensor(static_cast<std::size_t>(layer_), part), shape);
  }
  void add(std::string name, const Shape& shape) {
    quant::TensorRole role;
    role.name = name;
    role.rank = shape.rank;
    role.row_elems = shape.cols();
    role.layer = static_cast<int>(layer_);
    role.n_layers = static_cast<int>(shape_.n_layers);
    role.attention_ordinal = ordinal_;
    role.n_attention_layers = static_cast<int>(shape_.attention_layers.size());
    role.embedding_is_output = true;
    const quant::DType dtype = quant::tensor_type(recipe_, role);
    specs_.push_back({std::move(name), shape, dtype});
  }

  const SyntheticShape& shape_;
  const quant::Recipe& recipe_;
  std::int64_t layer_ = -1;
  int ordinal_ = -1;
  std::vector<TensorSpec> specs_;
};

void write_metadata(GgufWriter& writer, const SyntheticShape& shape, const quant::Recipe& recipe) {
  writer.set_string("general.architecture", "lfm2");
  writer.set_string("general.name", std::string(shape.name) + " (random weights)");
  writer.set_u32("general.file_type", recipe.gguf_file_type);
  writer.set_u32("lfm2.block_count", static_cast<std::uint32_t>(shape.n_layers));
  writer.set_u32("lfm2.context_length", 131072);
  writer.set_u32("lfm2.attention.head_count", static_cast<std::uint32_t>(shape.n_heads));
  writer.set_f32("lfm2.attention.layer_norm_rms_epsilon", 1e-5f);
  writer.set_f32("lfm2.rope.freq_base", 1e6f);
}

/// A few encoded rows are repeated: encoding a billion values would take minutes and change
/// nothing.
Status write_tensor(GgufWriter& writer, const TensorSpec& spec, Noise& noise) {
  constexpr std::int64_t kDistinctRows = 8;
  const auto cols = static_cast<std::size_t>(spec.shape.cols());
  const std::int64_t rows = spec.shape.rows();
  const std::size_t row_bytes = quant::row_bytes(spec.dtype, cols);
  const bool is_norm = spec.shape.rank == 1;
  const float scale = is_norm ? 0.05f : 1.0f / std::sqrt(static_cast<float>(cols));
  std::vector<float> row(cols);
  std::vector<std::byte> encoded;
  for (std::int64_t r = 0; r < std::min(rows, kDistinctRows); ++r) {
    for (float& x : row) x = (is_norm ? 1.0f : 0.0f) + scale * noise.next();
    encoded.resize(encoded.size() + row_bytes);
    quant::codec(spec.dtype)
        .encode_row(row.data(), nullptr, encoded.data() + encoded.size() - row_bytes,
                    static_cast<std::int64_t>(cols));
  }
  for (std::int64_t r = 0; r < rows; r += kDistinctRows) {
    const auto n = static_cast<std::size_t>(std::min(kDistinctRows, rows - r));
    RUNNEL_TRY(writer.write(std::span(encoded).first(n * row_bytes)));
  }
  return {};
}

}  // namespace

std::span<const SyntheticShape> synthetic_shapes() {
  static constexpr std::array kShapes{
      SyntheticShape{"lfm2-350m", 1024, 4608, 16, 16, 8, kAttention16},
      SyntheticShape{"lfm2-700m", 1536, 6912, 16, 24, 8, kAttention16},
      SyntheticShape{"lfm2-1.2b", 2048, 8192, 16, 32, 8, kAttention16},
      SyntheticShape{"lfm2-2.6b", 2048, 10752, 30, 32, 8, kAttention30},
  };
  return kShapes;
}

Result<std::vector<std::byte>> make_synthetic_model(std::string_view name,
                                                    std::string_view recipe_name) {
  std::string known;
  for (const SyntheticShape& row : synthetic_shapes()) known += " " + std::string(row.name);
  const auto shape = std::ranges::find(synthetic_shapes(), name, &SyntheticShape::name);
  if (shape == synthetic_shapes().end())
    return Status(Code::invalid_argument,
                  "shape \"" + std::string(name) + "\" is not one of" + known);
  const quant::Recipe* recipe = quant::find_recipe(recipe_name);
  if (recipe == nullptr)
    return Status(Code::invalid_argument,
                  "unknown weight type \"" + std::string(recipe_name) + "\"");
  GgufWriter writer;
  write_metadata(writer, *shape, *recipe);
  const std::vector<TensorSpec> specs = TensorList(*shape, *recipe).build();
  for (const TensorSpec& spec : specs)
    RUNNEL_TRY(writer.add_tensor(spec.name, spec.dtype, spec.shape));
  RUNNEL_TRY(writer.begin_memory());
  Noise noise;
  for (const TensorSpec& spec : specs) RUNNEL_TRY(write_tensor(writer, spec, noise));
  RUNNEL_TRY(writer.finish());
  return writer.take_memory();
}

}  // namespace runnel
