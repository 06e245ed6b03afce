// Chooses how a product with few rows of x is launched.
#include "backends/cuda/formats/formats.cuh"
#include "backends/cuda/kernels/matvec_x.cuh"

namespace runnel::cuda {
namespace {

constexpr int kWarps = kMatvecThreads / 32;

}  // namespace

int lanes_of(int n_results, const Caps& caps) {
  // As few lanes per row as keep two blocks on every multiprocessor at work.
  const std::int64_t all_warps = std::int64_t{caps.n_sms} * kWarps * kBlocksPerSm;
  return n_results <= all_warps ? 32 : n_results <= 2 * all_warps ? 16 : 8;
}

cudaError_t launch_matvec(const MatvecArgs& given, int max_rows, const Launch& launch) {
  MatvecArgs args = given;
  args.lanes = lanes_of(args.n_results, launch.caps);
  // Plain types have so many bytes that the loads themselves keep the memory busy.
  args.prefetches = args.expert_ids == nullptr && is_packed(args.type);
  if (args.type == quant::DType::f32) return matvec_of<PlainF32>(args, max_rows, launch);
  if (args.type == quant::DType::f16) return matvec_of<PlainF16>(args, max_rows, launch);
  if (args.type == quant::DType::bf16) return matvec_of<PlainBf16>(args, max_rows, launch);
  return with_format(args.type,
                     [&]<class Format>() { return matvec_of<Format>(args, max_rows, launch); });
}

MatvecArgs matvec_args(const Step& step) {
  const Product& p = step.product;
  MatvecArgs args{};
  args.x = p.x.f32();
  args.norm = p.norm.f32();
  args.eps = p.eps;
  args.k = p.w[0].cols();
  args.type = p.w[0].dtype;
  args.n_matrices = p.n;
  args.combine = p.combine;
  for (std::size_t i = 0; i < static_cast<std::size_t>(p.n); ++i) {
    args.matrix[i] = matrix_of(p.w[i], p.out[i].f32());
    args.matrix[i].bias = p.bias[i].f32();
    args.n_results += args.matrix[i].rows;
  }
  args.matrix[0].residual = p.residual.f32();
  if (p.combine == Combine::swiglu) args.n_results = args.matrix[0].rows;
  if (p.combine == Combine::conv) {
    args.n_results = args.matrix[0].rows / 3;
    args.conv = {p.filter.f32(), p.conv_bias.f32(), p.filter.cols(),
                 static_cast<int>(p.ring.shape[0]), p.ring.state_index};
  }
  args.rows = p.out[0].used();
  if (p.expert_ids.present()) {
    args.expert_ids = p.expert_ids.ids();
    args.rows_per_x = p.x.shape[0] == p.expert_ids.shape[0] ? p.expert_ids.cols() : 1;
    args.n_experts = static_cast<int>(p.w[0].shape[0]);
  }
  return args;
}

cudaError_t matvec(const Step& step, const Launch& launch) {
  return launch_matvec(matvec_args(step), step.product.out[0].rows(), launch);
}

bool holds_weights(const Step& step) {
  return step.launch == matvec && holds(step.product.w[0].dtype);
}

}  // namespace runnel::cuda
