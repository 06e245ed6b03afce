#include "backends/cuda/kernels/gemm_hopper.cuh"

namespace runnel::cuda {

std::size_t gemm_hopper_scratch(const Graph& graph, const Node& node) {
  const Value& x = graph.value(node.in[0]);
  const auto places = static_cast<std::size_t>(hopper::places_of(x.shape.rows()));
  const auto padded = static_cast<std::size_t>(ceil_div(x.shape.cols(), kTileDepth) * kTileDepth);
  return places * (padded * sizeof(__half) + sizeof(float));
}

cudaError_t hopper::launch_rows(quant::DType type,
                                const Args& args,
                                std::int64_t row_blocks,
                                int max_rows,
                                const Launch& launch) {
  return with_tile(type, [&]<class Tile>() {
    return launch_gemm<Tile, false>(args, row_blocks, max_rows, launch);
  });
}

cudaError_t gemm_hopper(const Step& step, const Launch& launch) {
  return hopper::run_step<false>(step, launch);
}

}  // namespace runnel::cuda
