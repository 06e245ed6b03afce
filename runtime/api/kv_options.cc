// C API: which KV cache a session gets.
#include "runtime/api/error.h"
#include "runtime/api/handles.h"

#include "quant/kv_sparse.h"

namespace runnel::api {
namespace {

Result<quant::KvSparse> to_sparse(const runnel_session_options& options) {
  quant::KvSparse sparse;
  if ((options.sparse & ~std::uint32_t{RUNNEL_SPARSE_DECODE | RUNNEL_SPARSE_PREFILL}) != 0)
    return Status(Code::invalid_argument, "sparse has unknown bits");
  sparse.decode = (options.sparse & RUNNEL_SPARSE_DECODE) != 0;
  sparse.prefill = (options.sparse & RUNNEL_SPARSE_PREFILL) != 0;
  constexpr std::int32_t kMostFrom = 1 << 24;
  if (options.sparse_from < 0 || options.sparse_from > kMostFrom || options.sparse_pages < 0 ||
      options.sparse_pages > quant::kKvMostPages)
    return Status(Code::invalid_argument, "sparse_from or sparse_pages is out of range");
  if (!sparse.any()) return sparse;
  if (options.sparse_from > 0) sparse.from = options.sparse_from;
  if (options.sparse_pages > 0) sparse.pages = options.sparse_pages;
  return sparse;
}

}  // namespace

Result<quant::KvPolicy> to_kv_policy(const runnel_session_options& options) {
  if (options.kv_type != RUNNEL_KV_F16 && options.kv_type != RUNNEL_KV_F32)
    return Status(Code::invalid_argument, "kv_type is not a runnel_kv_type");
  quant::KvPolicy policy =
      quant::plain_kv(options.kv_type == RUNNEL_KV_F32 ? quant::DType::f32 : quant::DType::f16);
  if (options.kv != nullptr) {
    const auto named = quant::parse_kv_policy(options.kv);
    if (!named)
      return Status(Code::invalid_argument,
                    "kv is not one of " + std::string(quant::kv_policy_names()));
    policy = *named;
  }
  constexpr std::uint32_t kParts = RUNNEL_KV_NO_SINKS | RUNNEL_KV_NO_RECENT | RUNNEL_KV_NO_ROTATION;
  if ((options.kv_without & ~kParts) != 0)
    return Status(Code::invalid_argument, "kv_without has unknown bits");
  RUNNEL_ASSIGN(policy.sparse, to_sparse(options));
  policy.streaming = options.streaming_heads != 0;
  if (!policy.tiled() && (policy.sparse.any() || policy.streaming))
    return Status(Code::invalid_argument,
                  "sparse attention and streaming heads need a quantised KV cache (kv8 to kv2)");
  if (!policy.tiled()) return policy;
  policy.sinks = (options.kv_without & RUNNEL_KV_NO_SINKS) == 0;
  policy.recent = (options.kv_without & RUNNEL_KV_NO_RECENT) == 0;
  policy.rotate = (options.kv_without & RUNNEL_KV_NO_ROTATION) == 0;
  return policy;
}

}  // namespace runnel::api
