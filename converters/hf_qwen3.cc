// Qwen3 dense checkpoints: per-head norms of q and k, half-rotation RoPE kept as it is.
#include "converters/hf_dense.h"
#include "converters/registry.h"

namespace runnel::converters {

Result<ModelPlan> plan_qwen3(const Fields& config, const Checkpoint& checkpoint, GgufWriter& meta) {
  RUNNEL_ASSIGN(TensorPlanner planner, TensorPlanner::start(checkpoint));
  RUNNEL_ASSIGN(const DenseConfig dense, read_dense(config, planner, 1e6));
  RUNNEL_ASSIGN(const TensorPlanner::Head head, read_head(config));
  if (dense.rope.kind == RopeKind::llama3)
    return Status(Code::unsupported, config.what() + ": rope scaling 'llama3' for qwen3");
  add_dense_tensors(dense, planner, RowOrder::same, QkNorm::present);
  planner.add_head(head, dense.n_vocab, dense.width);
  RUNNEL_TRY(planner.finish());
  set_dense_keys(dense, "qwen3", meta);
  return ModelPlan{planner.take_tensors(), planner.notes(), dense.n_vocab};
}

}  // namespace runnel::converters
