#include "backends/cuda/kernels/gemm_kernel.cuh"

namespace runnel::cuda {

std::size_t gemm_scratch(const Graph& graph, const Node& node) {
  const Value& x = graph.value(node.in[0]);
  const auto rows = static_cast<std::size_t>(ceil_div(x.shape[0], kMostRows) * kMostRows);
  const auto padded = static_cast<std::size_t>(ceil_div(x.shape.cols(), kDepth) * kDepth);
  const auto n = static_cast<std::size_t>(graph.value(node.in[1]).shape[0]);
  const std::size_t partial = node.op == Op::matmul ? kMostGemmSplits * rows * n : 0;
  return rows * padded * sizeof(__half) + (rows + partial) * sizeof(float);
}

cudaError_t gemm(const Step& step, const Launch& launch) {
  return run_step<false>(step, launch);
}

}  // namespace runnel::cuda
