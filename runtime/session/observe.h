// What a step saw: for every weight matrix the rows it was multiplied with, for every attention
// layer its queries, keys and values. Works on the compiled plan, for any backend: these inputs are
// kept like outputs and read back after the step. Costs memory and copies, so plans are compiled
// this way only when someone asks.
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>

#include "runtime/compile/plan.h"
#include "runtime/models/arch.h"

namespace runnel {

/// The input of one product in one step; valid during the call.
struct Activations {
  std::string_view weight;  // tensor name
  std::int64_t n_rows = 0;
  std::int64_t n_in = 0;
  const float* rows = nullptr;             // [n_rows, n_in]
  std::int64_t n_matrices = 1;             // experts in the weight; 1: a plain matrix
  std::int64_t n_per_row = 1;              // matrices that each row goes to
  const std::int32_t* matrices = nullptr;  // [n_rows, n_per_row]; null: all rows go to matrix 0
};
/// False stops the step with Code::cancelled.
using ActivationObserver = std::function<bool(const Activations&)>;

/// What one attention layer was given in one step, after RoPE; valid during the call.
struct AttentionInputs {
  std::int64_t layer = 0;  // number of the block
  std::int64_t n_rows = 0;
  std::int64_t n_kv_heads = 0;
  const float* q = nullptr;  // [n_rows, n_heads * head_dim]
  const float* k = nullptr;  // [n_rows, n_kv_heads * head_dim]
  const float* v = nullptr;  // [n_rows, n_kv_heads * head_dim]
};
/// False stops the step with Code::cancelled.
using AttentionObserver = std::function<bool(const AttentionInputs&)>;

/// Marks the inputs of all products as outputs, so that they survive the step.
void keep_product_inputs(Graph& graph);

/// Hands over the inputs of every product of the step that `plan` has just run, in graph order.
/// REQUIRES: the plan's graph went through keep_product_inputs. ERRORS: cancelled, device_lost.
Status observe(const Plan& plan, const StepParams& params, const ActivationObserver& observer);

/// Marks queries, keys and values of all attention layers over plain rows as outputs.
void keep_attention_inputs(Graph& graph);

/// Hands over the inputs of every attention layer over plain rows of the step that `plan` has just
/// run, in graph order. REQUIRES: the plan's graph went through keep_attention_inputs.
/// ERRORS: cancelled, device_lost.
Status observe_attention(const Plan& plan,
                         const StepParams& params,
                         const ModelConfig& config,
                         const AttentionObserver& observer);

}  // namespace runnel
