// Llama checkpoints: half-rotation q and k rows become interleaved, as GGUF's llama stores them.
#include "converters/hf_dense.h"
#include "converters/registry.h"

namespace runnel::converters {

Result<ModelPlan> plan_llama(const Fields& config, const Checkpoint& checkpoint, GgufWriter& meta) {
  RUNNEL_ASSIGN(TensorPlanner planner, TensorPlanner::start(checkpoint));
  RUNNEL_ASSIGN(const DenseConfig dense, read_dense(config, planner, 10000));
  RUNNEL_ASSIGN(const TensorPlanner::Head head, read_head(config));
  add_dense_tensors(dense, planner, RowOrder::interleave_rope, QkNorm::absent);
  planner.add_head(head, dense.n_vocab, dense.width);
  if (dense.rope.kind == RopeKind::llama3) {
    PlannedTensor divisors{"rope_freqs.weight", {dense.head_dim / 2}, {}};
    divisors.values = llama3_divisors(dense.rope, dense.head_dim);
    planner.add(std::move(divisors));
  }
  RUNNEL_TRY(planner.finish());
  set_dense_keys(dense, "llama", meta);
  return ModelPlan{planner.take_tensors(), planner.notes(), dense.n_vocab};
}

}  // namespace runnel::converters
