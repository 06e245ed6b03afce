#include "backends/cuda/device.h"

#include <utility>

namespace runnel::cuda {

Status to_status(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return {};
  (void)cudaGetLastError();  // clears errors that are not sticky
  const Code code = error == cudaErrorMemoryAllocation ? Code::out_of_memory : Code::device_lost;
  return {code, std::string("cuda: ") + what + ": " + cudaGetErrorString(error)};
}

int device_count() {
  int n = 0;
  if (cudaGetDeviceCount(&n) == cudaSuccess) return n;
  (void)cudaGetLastError();
  return 0;
}

Result<Device> Device::open(int index) {
  const int n = device_count();
  if (index < 0 || index >= n)
    return Status(Code::unsupported,
                  "cuda: there is no device " + std::to_string(index) + " of " + std::to_string(n));
  Device device;
  device.index_ = index;
  cudaDeviceProp properties{};
  RUNNEL_TRY(to_status(cudaSetDevice(index), "choosing the device"));
  RUNNEL_TRY(to_status(cudaGetDeviceProperties(&properties, index), "asking the device"));
  device.caps_ = {properties.major * 10 + properties.minor, properties.multiProcessorCount,
                  static_cast<int>(properties.sharedMemPerBlockOptin)};
  device.title_ = std::string(properties.name) + ", " +
                  std::to_string(properties.totalGlobalMem >> 30) + " GiB";
  RUNNEL_TRY(to_status(cudaStreamCreateWithFlags(&device.stream_, cudaStreamNonBlocking),
                       "making a stream"));
  return device;
}

Device::Device(Device&& other) noexcept
    : index_(other.index_),
      stream_(std::exchange(other.stream_, nullptr)),
      caps_(other.caps_),
      title_(std::move(other.title_)) {}

Device::~Device() {
  if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
}

Status Device::use() const {
  return to_status(cudaSetDevice(index_), "choosing the device");
}

Status Device::sync() const {
  return to_status(cudaStreamSynchronize(stream_), "waiting");
}

}  // namespace runnel::cuda
