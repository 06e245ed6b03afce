#include "runtime/models/config_reader.h"

#include <cmath>

namespace runnel {
namespace {

constexpr std::int64_t kMaxLayers = 1024;
constexpr std::int64_t kMaxContext = std::int64_t{1} << 24;
constexpr std::int64_t kMaxHeads = 4096;

void read_layers(ConfigReader& reader, ModelConfig& config, std::int64_t n_layers) {
  for (std::int64_t i = 0; i < n_layers && reader.status().ok(); ++i) {
    const auto layer = static_cast<std::size_t>(i);
    LayerConfig entry;
    if (reader.has_tensor(block_tensor(layer, "shortconv.conv.weight"))) {
      entry.kind = LayerKind::short_conv;
      const Shape filter = reader.shape(block_tensor(layer, "shortconv.conv.weight"), 2);
      if (config.conv_kernel != 0 && filter.cols() != config.conv_kernel)
        reader.fail(Code::corrupt, "short convolutions of different lengths");
      config.conv_kernel = filter.cols();
    } else {
      const std::int64_t rows = reader.shape(block_tensor(layer, "attn_k.weight"), 2)[0];
      entry.n_kv_heads = rows / config.head_dim;
      if (reader.status().ok() &&
          (rows % config.head_dim != 0 || config.n_heads % entry.n_kv_heads != 0))
        reader.fail(Code::corrupt, block_tensor(layer, "attn_k.weight") + ": " +
                                       std::to_string(rows) +
                                       " rows fit neither head size nor head count");
    }
    entry.experts = reader.has_tensor(block_tensor(layer, "ffn_gate_inp.weight"));
    config.layers.push_back(entry);
  }
}

}  // namespace

std::string block_tensor(std::size_t layer, std::string_view part) {
  return "blk." + std::to_string(layer) + "." + std::string(part);
}

ConfigReader::ConfigReader(const GgufFile& file, std::string_view architecture)
    : file_(file), prefix_(std::string(architecture) + ".") {}

void ConfigReader::fail(Code code, std::string message) {
  if (status_.ok()) status_ = Status(code, std::move(message));
}

std::int64_t ConfigReader::integer(std::string_view key,
                                   std::int64_t low,
                                   std::int64_t high,
                                   std::int64_t fallback) {
  const std::string name = prefix_ + std::string(key);
  Result<std::optional<std::int64_t>> found = file_.get_int(name);
  if (!found.ok()) {
    fail(found.status().code(), found.status().message());
    return low;
  }
  const std::int64_t value = (*found).value_or(fallback);
  if (value >= low && value <= high) return value;
  if (!(*found).has_value())
    fail(Code::not_found, "key " + name + " is missing");
  else
    fail(Code::corrupt, "key " + name + " is " + std::to_string(value) + ", out of range");
  return low;
}

float ConfigReader::positive(std::string_view key, float fallback) {
  const std::string name = prefix_ + std::string(key);
  Result<std::optional<double>> found = file_.get_float(name);
  if (!found.ok()) {
    fail(found.status().code(), found.status().message());
    return fallback;
  }
  const auto value = static_cast<float>((*found).value_or(fallback));
  if (std::isfinite(value) && value > 0.0f) return value;
  fail(Code::corrupt, "key " + name + " must be a positive number");
  return fallback;
}

bool ConfigReader::boolean(std::string_view key, bool fallback) {
  Result<std::optional<bool>> found = file_.get_bool(prefix_ + std::string(key));
  if (found.ok()) return (*found).value_or(fallback);
  fail(found.status().code(), found.status().message());
  return fallback;
}

Shape ConfigReader::shape(const std::string& name, int rank) {
  const GgufTensor* tensor = file_.tensor(name);
  if (tensor == nullptr)
    fail(Code::not_found, "tensor " + name + " is missing");
  else if (tensor->shape.rank != rank)
    fail(Code::corrupt, "tensor " + name + " has shape " + tensor->shape.to_string() +
                            ", expected rank " + std::to_string(rank));
  else
    return tensor->shape;
  return {};
}

ModelConfig read_decoder_config(ConfigReader& reader, float default_eps, float default_theta) {
  ModelConfig config;
  config.architecture = std::string(reader.prefix().substr(0, reader.prefix().size() - 1));
  const Shape embedding = reader.shape("token_embd.weight", 2);
  config.n_vocab = embedding[0];
  config.d_model = embedding[1];
  const std::int64_t n_layers = reader.integer("block_count", 1, kMaxLayers, 0);
  config.context_length = reader.integer("context_length", 1, kMaxContext, 4096);
  config.n_heads = reader.integer("attention.head_count", 1, kMaxHeads, 0);
  config.head_dim = reader.integer("attention.key_length", 1, 1024,
                                   std::max<std::int64_t>(1, config.d_model / config.n_heads));
  config.norm_eps = reader.positive("attention.layer_norm_rms_epsilon", default_eps);
  config.rope.theta = reader.positive("rope.freq_base", default_theta);
  config.rope.head_dim = static_cast<int>(config.head_dim);
  config.rope.rotary_dim =
      static_cast<int>(reader.integer("rope.dimension_count", 2, config.head_dim, config.head_dim));
  if (config.rope.rotary_dim % 2 != 0)
    reader.fail(Code::corrupt, "odd number of rotary dimensions");
  if (reader.status().ok()) read_layers(reader, config, n_layers);
  config.final_norm =
      reader.has_tensor("token_embd_norm.weight") ? "token_embd_norm.weight" : "output_norm.weight";
  return config;
}

}  // namespace runnel
