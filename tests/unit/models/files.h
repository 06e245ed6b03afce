// Small model files in memory, for tests of configurations and graphs.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "runtime/io/gguf_writer.h"
#include "runtime/models/arch.h"

namespace runnel::tests {

struct TensorSpec {
  std::string name;
  Shape shape;
};

/// Tensors of a two-layer LFM2: one convolution, one attention layer. d_model 64, two heads of 32.
inline std::vector<TensorSpec> small_lfm2() {
  return {{"token_embd.weight", {96, 64}},          {"token_embd_norm.weight", {64}},
          {"blk.0.attn_norm.weight", {64}},         {"blk.0.shortconv.in_proj.weight", {192, 64}},
          {"blk.0.shortconv.conv.weight", {64, 3}}, {"blk.0.shortconv.out_proj.weight", {64, 64}},
          {"blk.0.ffn_norm.weight", {64}},          {"blk.0.ffn_gate.weight", {128, 64}},
          {"blk.0.ffn_up.weight", {128, 64}},       {"blk.0.ffn_down.weight", {64, 128}},
          {"blk.1.attn_norm.weight", {64}},         {"blk.1.attn_q.weight", {64, 64}},
          {"blk.1.attn_k.weight", {32, 64}},        {"blk.1.attn_v.weight", {32, 64}},
          {"blk.1.attn_output.weight", {64, 64}},   {"blk.1.attn_q_norm.weight", {32}},
          {"blk.1.attn_k_norm.weight", {32}},       {"blk.1.ffn_norm.weight", {64}},
          {"blk.1.ffn_gate.weight", {128, 64}},     {"blk.1.ffn_up.weight", {128, 64}},
          {"blk.1.ffn_down.weight", {64, 128}}};
}

inline void write_small_keys(GgufWriter& writer) {
  writer.set_string("general.architecture", "lfm2");
  writer.set_u32("lfm2.block_count", 2);
  writer.set_u32("lfm2.context_length", 1024);
  writer.set_u32("lfm2.attention.head_count", 2);
}

enum class Fill : std::uint8_t { same, varied };

/// A file with these tensors (f32, small values) after `keys` has set the metadata.
inline GgufFile make_file(const std::vector<TensorSpec>& tensors,
                          const std::function<void(GgufWriter&)>& keys,
                          Fill fill = Fill::same) {
  GgufWriter writer;
  keys(writer);
  for (const TensorSpec& t : tensors)
    REQUIRE(writer.add_tensor(t.name, quant::DType::f32, t.shape).ok());
  REQUIRE(writer.begin_memory().ok());
  for (const TensorSpec& t : tensors) {
    std::vector<float> values(static_cast<std::size_t>(t.shape.elems()), 0.01f);
    if (fill == Fill::varied)
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = t.shape.rank == 1 ? 1.0f : static_cast<float>(i * 7919 % 257) / 600 - 0.2f;
    REQUIRE(writer.write(std::as_bytes(std::span(values))).ok());
  }
  REQUIRE(writer.finish().ok());
  Result<GgufFile> file = GgufFile::own(writer.take_memory());
  REQUIRE_MESSAGE(file.ok(), file.status().message());
  return *std::move(file);
}

}  // namespace runnel::tests
