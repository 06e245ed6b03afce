#include "runtime/session/fingerprint.h"

#include "runtime/base/checksum.h"

namespace runnel {
namespace {

constexpr std::size_t kSampleBytes = 256;
constexpr std::size_t kSamples = 16;  // per tensor

bool describes_only(std::string_view key) {
  if (key == "general.architecture") return false;
  return key.starts_with("general.") || key.starts_with("tokenizer.chat_template") ||
         key.starts_with("quantize.") || key.starts_with("split.");
}

void add_text(Checksum& sum, std::string_view text) {
  const std::uint64_t bytes = text.size();
  sum.add(std::as_bytes(std::span(&bytes, 1)));
  sum.add(std::as_bytes(std::span(text)));
}

}  // namespace

std::uint64_t model_fingerprint(const GgufFile& file) {
  Checksum sum;
  for (const GgufKey& key : file.keys()) {
    if (describes_only(key.name)) continue;
    add_text(sum, key.name);
    const std::uint64_t facts[] = {static_cast<std::uint64_t>(key.type),
                                   static_cast<std::uint64_t>(key.element_type), key.count};
    sum.add(std::as_bytes(std::span(facts)));
    sum.add(key.payload);
  }
  for (const GgufTensor& tensor : file.tensors()) {
    add_text(sum, tensor.name);
    const std::uint32_t type = quant::info(tensor.dtype).gguf_id;
    sum.add(std::as_bytes(std::span(&type, 1)));
    sum.add(std::as_bytes(std::span(tensor.shape.dim)));
    if (tensor.data.size() <= kSamples * kSampleBytes) {
      sum.add(tensor.data);
      continue;
    }
    const std::size_t stride = (tensor.data.size() - kSampleBytes) / (kSamples - 1);
    for (std::size_t i = 0; i < kSamples; ++i)
      sum.add(tensor.data.subspan(i * stride, kSampleBytes));
  }
  return sum.value();
}

}  // namespace runnel
