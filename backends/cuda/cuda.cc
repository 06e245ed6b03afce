#include "backends/cuda/cuda.h"

#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "backends/cuda/ceilings.h"
#include "backends/cuda/executable.h"
#include "backends/cuda/weights.h"
#include "runtime/base/env.h"

namespace runnel::cuda {
namespace {

constexpr std::size_t kStagingBytes = std::size_t{1} << 20;

class CudaBackend final : public Backend {
 public:
  CudaBackend(Device device, PinnedBytes staging)
      : device_(std::move(device)),
        pool_(std::make_shared<Pool>(device_)),
        staging_(std::move(staging)) {}
  ~CudaBackend() override { (void)device_.sync(); }

  std::string_view name() const override { return "cuda"; }
  std::string description() const override { return "cuda: " + device_.title(); }
  bool uses_host_memory() const override { return false; }
  std::size_t free_bytes() const override {
    std::size_t free = 0, total = 0;
    return cudaMemGetInfo(&free, &total) == cudaSuccess ? free : 0;
  }

  bool supports(const Graph& graph, const Node& node) const override {
    return find(graph, node) != nullptr;
  }
  std::string_view kernel_name(const Graph& graph, const Node& node) const override {
    const Row* row = find(graph, node);
    return row ? row->name : std::string_view{};
  }

  Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes, MemoryKind) override {
    return DeviceBuffer::allocate(pool_, bytes);
  }

  Status upload(BufferView dst, std::span<const std::byte> src) override {
    if (dst.buffer == nullptr || src.size() > dst.size)
      return {Code::invalid_argument, "upload does not fit its buffer"};
    RUNNEL_TRY(device_.use());
    for (std::size_t at = 0; at < src.size();) {
      const std::size_t n = std::min(src.size() - at, kStagingBytes / 2);
      // Two halves in turn: what was sent from one is gone when the other was waited for.
      if (used_ + n > kStagingBytes) {
        RUNNEL_TRY(device_.sync());
        used_ = 0;
      }
      std::memcpy(staging_.data() + used_, src.data() + at, n);
      RUNNEL_TRY(to_status(cudaMemcpyAsync(address(dst) + at, staging_.data() + used_, n,
                                           cudaMemcpyHostToDevice, device_.stream()),
                           "uploading"));
      used_ += n;
      at += n;
    }
    return {};
  }

  Status download(std::span<std::byte> dst, BufferView src) override {
    if (src.buffer == nullptr || dst.size() > src.size)
      return {Code::invalid_argument, "download is larger than its buffer"};
    RUNNEL_TRY(device_.use());
    RUNNEL_TRY(device_.sync());  // the staging memory may still be read from
    used_ = 0;
    for (std::size_t at = 0; at < dst.size(); at += kStagingBytes) {
      const std::size_t n = std::min(dst.size() - at, kStagingBytes);
      RUNNEL_TRY(to_status(cudaMemcpyAsync(staging_.data(), address(src) + at, n,
                                           cudaMemcpyDeviceToHost, device_.stream()),
                           "downloading"));
      RUNNEL_TRY(device_.sync());
      std::memcpy(dst.data() + at, staging_.data(), n);
    }
    return {};
  }

  Result<std::unique_ptr<Buffer>> place_weight(const Value& weight,
                                               std::span<const std::byte> mapped) override {
    RUNNEL_TRY(device_.use());
    return cuda::place_weight(device_, pool_, weight, mapped);
  }
  std::size_t weight_bytes(const Value& weight) const override {
    return cuda::weight_bytes(weight);
  }
  std::size_t scratch_bytes(const Graph& graph, std::span<const Node> nodes) const override {
    return cuda::scratch_bytes(graph, nodes, device_.caps());
  }
  Result<std::unique_ptr<Executable>> compile(const Graph& graph, const Segment& segment) override {
    RUNNEL_TRY(device_.use());
    return cuda::compile(graph, segment, device_, pool_);
  }
  /// Hopper's products gain from many rows; elsewhere long steps only take memory.
  std::int64_t step_tokens() const override { return device_.caps().sm == 90 ? 2048 : 512; }
  Result<Ceilings> measure_ceilings() override {
    RUNNEL_TRY(device_.use());
    return cuda::measure_ceilings(device_);
  }

 private:
  const Row* find(const Graph& graph, const Node& node) const {
    return find_kernel(kernel_table(), graph, node, device_.caps());
  }

  Device device_;
  std::shared_ptr<Pool> pool_;
  PinnedBytes staging_;
  std::size_t used_ = 0;  // bytes of staging_ that copies under way may read
};

Result<std::unique_ptr<Backend>> create(const BackendOptions&) {
  int index = 0;
  if (const auto wanted = env("RUNNEL_CUDA_DEVICE")) {
    if (wanted->empty() || wanted->size() > 3 ||
        wanted->find_first_not_of("0123456789") != std::string::npos)
      return Status(Code::unsupported, "RUNNEL_CUDA_DEVICE=" + *wanted + " is no device number");
    index = std::stoi(*wanted);
  }
  RUNNEL_ASSIGN(Device device, Device::open(index));
  if (device.caps().sm < 75)
    return Status(Code::unsupported, "cuda: " + device.title() + " is older than compute 7.5");
  RUNNEL_ASSIGN(PinnedBytes staging, PinnedBytes::allocate(kStagingBytes));
  return std::unique_ptr<Backend>(
      std::make_unique<CudaBackend>(std::move(device), std::move(staging)));
}

bool available() {
  return device_count() > 0;
}

}  // namespace

BackendInfo backend_info() {
  return {"cuda", "NVIDIA GPUs, one launch per step", available, create};
}

}  // namespace runnel::cuda
