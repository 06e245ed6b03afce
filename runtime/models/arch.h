// Architectures: how a model file's metadata becomes a ModelConfig and its tensors a Graph.
// One file per architecture; registry.cc lists them. Pure functions, thread-safe.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/graph/graph.h"
#include "runtime/io/gguf.h"
#include "runtime/io/kv_calibration.h"

namespace runnel {

enum class LayerKind : std::uint8_t { attention, short_conv };

/// One decoder block: an operator (attention or short convolution), then a gated MLP or experts.
struct LayerConfig {
  LayerKind kind = LayerKind::attention;
  std::int64_t n_kv_heads = 0;  // attention layers
  bool experts = false;         // mixture of experts instead of the dense MLP
};

/// What the graph builder needs to know; sizes are taken from tensor shapes where both exist.
struct ModelConfig {
  std::string architecture;
  std::int64_t n_vocab = 0, d_model = 0, n_heads = 0, head_dim = 0;
  std::int64_t context_length = 0;  // tokens
  std::vector<LayerConfig> layers;
  float norm_eps = 1e-5f;
  RopeAttr rope;
  std::int64_t conv_kernel = 0;  // L, taps of the short convolution; 0 without conv layers
  MoeRouteAttr moe;              // n_used 0 without experts
  std::int64_t n_experts = 0;
  std::string final_norm;  // name of the tensor before the head

  std::int64_t n_attention_layers() const;
  std::int64_t n_conv_layers() const;
};

/// Which rows of the step get logits.
enum class LogitsMode : std::uint8_t { last, all };

struct BuildOptions {
  std::int64_t max_tokens = 1;
  quant::KvPolicy kv;
  LogitsMode logits = LogitsMode::last;
  std::int64_t rollback_columns = 0;  // extra ring columns of the conv state
};

struct Arch {
  std::string_view name;  // general.architecture
  /// ERRORS: corrupt, not_found (naming key or tensor), unsupported.
  Result<ModelConfig> (*read_config)(const GgufFile& file);
};

/// All architectures.
std::span<const Arch> archs();

/// A model file and what it says; borrows nothing, shares the map. Immutable, thread-safe.
struct Model {
  GgufFile file;
  ModelConfig config;
  std::string name;  // general.name, or the architecture
  KvCalibration kv;

  /// ERRORS: as Arch::read_config and KvCalibration; unsupported for an unknown architecture.
  static Result<Model> load(GgufFile file);
};

/// Builds the decoder: input "ids" [max_tokens] i32, outputs "logits" [rows, n_vocab] f32 and, of
/// the last row alone, "top" [1] i32, the token with the highest of them (Op::argmax); states in
/// layer order (K and V, or conv ring). ERRORS: not_found or corrupt, naming the tensor.
Result<Graph> build_graph(const Model& model, const BuildOptions& options);

}  // namespace runnel
