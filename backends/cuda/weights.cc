#include "backends/cuda/weights.h"

#include <algorithm>
#include <cstring>

#include "backends/cuda/kernels/kernels.h"
#include "backends/cuda/layout.h"
#include "quant/codecs.h"

namespace runnel::cuda {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{8} << 20;

/// Sends bytes in chunks through page-locked memory; `sent` is told of each chunk once it is in
/// device memory at `window`.
class Sender {
 public:
  static Result<Sender> make(const Device& device, std::size_t bytes) {
    Sender sender(device);
    RUNNEL_ASSIGN(sender.pinned_, PinnedBytes::allocate(std::min(bytes, kChunkBytes)));
    return sender;
  }
  Status copy(std::byte* to, std::span<const std::byte> bytes) {
    for (std::size_t at = 0; at < bytes.size(); at += pinned_.size()) {
      const std::size_t n = std::min(pinned_.size(), bytes.size() - at);
      RUNNEL_TRY(device_.sync());
      std::memcpy(pinned_.data(), bytes.data() + at, n);
      RUNNEL_TRY(to_status(
          cudaMemcpyAsync(to + at, pinned_.data(), n, cudaMemcpyHostToDevice, device_.stream()),
          "uploading a weight"));
    }
    return device_.sync();
  }

 private:
  explicit Sender(const Device& device) : device_(device) {}
  const Device& device_;
  PinnedBytes pinned_;
};

std::size_t file_bytes(const Value& weight) {
  return quant::row_bytes(weight.dtype, static_cast<std::size_t>(weight.shape.cols())) *
         static_cast<std::size_t>(weight.shape.rows());
}

Status send_packed(const Device& device,
                   const std::shared_ptr<Pool>& pool,
                   const Value& weight,
                   std::span<const std::byte> mapped,
                   std::byte* to) {
  const quant::DTypeInfo& type = quant::info(weight.dtype);
  // Whole blocks, and whole heads of 8 units.
  const std::size_t grain = std::size_t{type.block_bytes} * (8 * kUnit);
  const std::size_t chunk = std::max<std::size_t>(1, kChunkBytes / grain) * grain;
  RUNNEL_ASSIGN(Sender sender, Sender::make(device, mapped.size()));
  RUNNEL_ASSIGN(const std::unique_ptr<Buffer> raw,
                DeviceBuffer::allocate(pool, std::min(chunk, mapped.size())));
  std::byte* const window = static_cast<const DeviceBuffer&>(*raw).device();
  const PlaneOffsets planes = plane_offsets(weight.dtype, weight.shape.elems());
  std::int64_t first_block = 0;
  for (std::size_t at = 0; at < mapped.size(); at += chunk) {
    const std::span<const std::byte> part = mapped.subspan(at, std::min(chunk, mapped.size() - at));
    RUNNEL_TRY(sender.copy(window, part));
    const auto n_blocks = static_cast<std::int64_t>(part.size() / type.block_bytes);
    RUNNEL_TRY(to_status(
        launch_pack({weight.dtype, window, to, planes, first_block, n_blocks}, device.stream()),
        "packing a weight"));
    first_block += n_blocks;
  }
  return device.sync();
}

}  // namespace

std::size_t weight_bytes(const Value& weight) {
  if (weight.shape.rank == 1) return static_cast<std::size_t>(weight.shape.elems()) * sizeof(float);
  if (!is_packed(weight.dtype)) return file_bytes(weight);
  return static_cast<std::size_t>(plane_offsets(weight.dtype, weight.shape.elems()).total);
}

Result<std::unique_ptr<Buffer>> place_weight(const Device& device,
                                             const std::shared_ptr<Pool>& pool,
                                             const Value& weight,
                                             std::span<const std::byte> mapped) {
  const std::size_t bytes = file_bytes(weight);
  if (mapped.size() < bytes)
    return Status(Code::corrupt, weight.name + ": has " + std::to_string(mapped.size()) +
                                     " bytes, needs " + std::to_string(bytes));
  mapped = mapped.first(bytes);
  RUNNEL_ASSIGN(std::unique_ptr<Buffer> buffer, DeviceBuffer::allocate(pool, weight_bytes(weight)));
  std::byte* const to = static_cast<const DeviceBuffer&>(*buffer).device();
  if (weight.shape.rank > 1 && is_packed(weight.dtype)) {
    RUNNEL_TRY(send_packed(device, pool, weight, mapped, to));
    return buffer;
  }
  std::vector<float> decoded;
  if (weight.shape.rank == 1) {
    decoded.resize(static_cast<std::size_t>(weight.shape.elems()));
    quant::codec(weight.dtype).decode_row(mapped.data(), decoded.data(), weight.shape.elems());
    mapped = std::as_bytes(std::span(decoded));
  }
  RUNNEL_ASSIGN(Sender sender, Sender::make(device, mapped.size()));
  RUNNEL_TRY(sender.copy(to, mapped));
  return buffer;
}

}  // namespace runnel::cuda
