// Chooses how a product with few rows of x is launched.
#include "backends/cuda/kernels/matvec_x.cuh"

namespace runnel::cuda {
namespace {

constexpr int kWarps = kMatvecThreads / 32;

}  // namespace

cudaError_t launch_matvec(const MatvecArgs& given, int max_rows, const Launch& launch) {
  constexpr int kFewTokens = 4;
  constexpr std::size_t kEnough = 96 * 1024;  // shared bytes that every device has
  MatvecArgs args = given;
  // As few lanes per row as keep every warp of the device at work.
  const std::int64_t all_warps = std::int64_t{launch.caps.n_sms} * kWarps;
  args.lanes = args.n_results <= all_warps ? 32 : args.n_results <= 2 * all_warps ? 16 : 8;
  const bool one = max_rows == 1 || args.expert_ids != nullptr || args.combine == Combine::conv;
  if (multiplies_bytes(args.matrix[0].type)) {
    if (one || ByteX<kFewTokens>::bytes(args.k) > kEnough)
      return matvec_bytes_1(args, max_rows, launch);
    return matvec_bytes_4(args, max_rows, launch);
  }
  if (one || FloatX<kFewTokens>::bytes(args.k) > kEnough)
    return matvec_floats_1(args, max_rows, launch);
  return matvec_floats_4(args, max_rows, launch);
}

cudaError_t matvec(const Step& step, const Launch& launch) {
  const Operand &x = step.in[0], &w = step.in[1], &out = step.out[0];
  MatvecArgs args{};
  args.x = x.f32();
  args.k = w.cols();
  args.matrix[0] = matrix_of(w, out.f32());
  args.n_matrices = 1;
  args.n_results = args.matrix[0].rows;
  args.rows = out.used();
  if (w.shape.rank == 3) {
    const Operand& ids = step.in[2];
    args.expert_ids = ids.ids();
    args.rows_per_x = x.shape[0] == ids.shape[0] ? ids.cols() : 1;
    args.n_experts = static_cast<int>(w.shape[0]);
  } else if (step.extra[0].present()) {  // matmul_swiglu
    args.matrix[1] = matrix_of(step.extra[0], nullptr);
    args.combine = Combine::swiglu;
  } else {
    args.matrix[0].bias = step.in[2].f32();
  }
  return launch_matvec(args, out.rows(), launch);
}

}  // namespace runnel::cuda
