// The chosen GPU and its one stream; errors of the CUDA runtime as Status. One thread at a time.
#pragma once
#include <cuda_runtime.h>

#include <string>

#include "runtime/base/status.h"

namespace runnel::cuda {

/// Ok, or what the runtime says: out_of_memory, else device_lost.
Status to_status(cudaError_t error, const char* what);

/// What kernels and rows ask about the device.
struct Caps {
  int sm = 0;  // compute capability, 90 = 9.0
  int n_sms = 0;
  int shared_bytes = 0;  // a block's most
};

/// Number of usable devices; 0 without a driver.
int device_count();

class Device {
 public:
  /// Device number `index`. ERRORS: unsupported, device_lost.
  static Result<Device> open(int index);
  Device(Device&& other) noexcept;
  Device& operator=(Device&&) = delete;
  ~Device();

  /// Makes the device the calling thread's.
  Status use() const;
  Status sync() const;
  cudaStream_t stream() const { return stream_; }
  const Caps& caps() const { return caps_; }
  /// "NVIDIA H200, 139 GiB".
  const std::string& title() const { return title_; }
  int index() const { return index_; }

 private:
  Device() = default;
  int index_ = 0;
  cudaStream_t stream_ = nullptr;
  Caps caps_;
  std::string title_;
};

}  // namespace runnel::cuda
