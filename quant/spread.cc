// Greedy choice by gain per byte. Gains shrink with every step up a ladder, so greedy is optimal
// but for the last tensors that no longer fit.
#include "quant/spread.h"

#include <array>
#include <cstddef>
#include <string_view>
#include <vector>

namespace runnel::quant {
namespace {

/// What a relative error in a part of the model costs, per value.
struct Part {
  std::string_view suffix;
  float weight;
};

// KL divergence of the demo model with one part in q4_k and the rest exact, per million values and
// in units of 1e-3; only ratios matter. Keys and values are read by several query heads each, and
// what mixes tokens together is written straight into the residual stream.
constexpr std::array kParts = std::to_array<Part>({
    {".attn_v.weight", 28.0f},
    {".attn_k.weight", 6.0f},
    {".attn_output.weight", 3.9f},
    {"output.weight", 3.0f},      // the head; after attn_output, whose name ends like it
    {"token_embd.weight", 3.0f},  // when it is the head too
    {".shortconv.out_proj.weight", 2.9f},
    {".shortconv.in_proj.weight", 2.0f},
    {".ffn_down.weight", 1.4f},
    {".ffn_gate.weight", 1.4f},
    {".attn_q.weight", 1.3f},
    {".ffn_up.weight", 1.1f},
});

// One step below the layers of use_more(): which tensors of a part come first when not all fit.
constexpr float kOtherLayers = 0.98f;

/// 0: a part that is left alone.
float part_weight(const TensorRole& role) {
  if (role.name == "token_embd.weight" && !role.embedding_is_output) return 0;
  for (const Part& part : kParts)
    if (role.name.ends_with(part.suffix))
      return role.layer < 0 || use_more(role.layer, role.n_layers) ? part.weight
                                                                   : part.weight * kOtherLayers;
  return 0;
}

// Types in ascending order of size and quality.
constexpr std::array kLadder = {DType::q2_k, DType::q3_k, DType::q4_k,
                                DType::q5_k, DType::q6_k, DType::q8_0};

double bits(DType type) {
  return 8.0 * info(type).block_bytes / info(type).block_elems;
}

/// Larger and better. Types of one size are never exchanged: whoever asks for q4_0 gets its
/// kernels.
bool is_step_up(DType from, DType to) {
  return bits(to) > bits(from) && info(to).error_bound < info(from).error_bound;
}

/// Where every matrix starts: one step below the base where the base is on the ladder, so that a
/// few bytes can move even when the standard mix gives all matrices one type.
DType floor_of(DType base) {
  for (std::size_t i = 1; i < kLadder.size(); ++i)
    if (kLadder[i] == base) return kLadder[i - 1];
  return base;
}

bool has_ladder(DType base) {
  const Scheme scheme = info(base).scheme;
  const bool blocks = scheme == Scheme::superblock || scheme == Scheme::block_symmetric ||
                      scheme == Scheme::block_affine;
  return blocks && base != DType::q8_0;
}

std::int64_t bytes(const MixedTensor& tensor, DType type) {
  return tensor.n_rows * static_cast<std::int64_t>(
                             row_bytes(type, static_cast<std::size_t>(tensor.role.row_elems)));
}

/// Error energy of a type on data of unit energy.
double energy(DType type) {
  const auto error = static_cast<double>(info(type).error_bound);
  return error * error;
}

struct Candidate {
  MixedTensor* tensor;
  double weight;  // of one unit of error energy
};

/// The best use of the next bytes for one tensor.
struct Step {
  DType type = DType::count;
  double gain = 0;  // error saved per byte; 0: there is no better type
  std::int64_t cost = 0;
};

Step best_step(const Candidate& candidate) {
  const MixedTensor& tensor = *candidate.tensor;
  Step best;
  for (const DType type : kLadder) {
    if (!is_step_up(tensor.type, type)) continue;
    const std::int64_t cost = bytes(tensor, type) - bytes(tensor, tensor.type);
    const double gain =
        candidate.weight * (energy(tensor.type) - energy(type)) / static_cast<double>(cost);
    if (gain > best.gain) best = {type, gain, cost};
  }
  return best;
}

}  // namespace

void spread_bits(const Recipe& recipe, std::span<MixedTensor> tensors) {
  if (!has_ladder(recipe.base)) return;
  const DType floor = floor_of(recipe.base);
  std::int64_t left = 0;  // bytes to spend
  std::vector<Candidate> candidates;
  for (MixedTensor& tensor : tensors) {
    const float weight = part_weight(tensor.role);
    const bool matrix = info(tensor.type).scheme != Scheme::plain;
    if (weight == 0 || !matrix || tensor.role.row_elems % 256 != 0) continue;
    left += bytes(tensor, tensor.type) - bytes(tensor, floor);
    tensor.type = floor;
    candidates.push_back({&tensor, static_cast<double>(weight) *
                                       static_cast<double>(tensor.n_rows * tensor.role.row_elems)});
  }
  while (!candidates.empty()) {
    std::size_t chosen = 0;
    Step best;
    for (std::size_t i = 0; i < candidates.size(); ++i)
      if (const Step step = best_step(candidates[i]); step.gain > best.gain) {
        best = step;
        chosen = i;
      }
    if (best.gain > 0 && best.cost <= left) {
      candidates[chosen].tensor->type = best.type;
      left -= best.cost;
    } else {
      candidates.erase(candidates.begin() + static_cast<std::ptrdiff_t>(chosen));
    }
  }
}

}  // namespace runnel::quant
