#include "backends/cuda/ceilings.h"

#include <algorithm>

#include "backends/cuda/kernels/ceilings.cuh"
#include "backends/cuda/memory.h"

namespace runnel::cuda {
namespace {

constexpr std::int64_t kReadBytes = std::int64_t{2} << 30;  // far more than any cache
constexpr int kRepeats = 5;

class Timer {
 public:
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  Timer() {
    (void)cudaEventCreate(&begin_);
    (void)cudaEventCreate(&end_);
  }
  ~Timer() {
    (void)cudaEventDestroy(begin_);
    (void)cudaEventDestroy(end_);
  }
  /// Best rate of a few runs, in bytes or operations per second.
  Result<double> best(Ceiling which, const CeilingArgs& args, cudaStream_t stream) {
    double best = 0;
    for (int i = 0; i < kRepeats; ++i) {
      (void)cudaEventRecord(begin_, stream);
      RUNNEL_TRY(to_status(launch_ceiling(which, args, stream), "measuring the device"));
      (void)cudaEventRecord(end_, stream);
      RUNNEL_TRY(to_status(cudaStreamSynchronize(stream), "measuring the device"));
      float milliseconds = 0;
      (void)cudaEventElapsedTime(&milliseconds, begin_, end_);
      if (milliseconds > 0)
        best = std::max(best, ceiling_operations(which, args) / (1e-3 * milliseconds));
    }
    return best;
  }

 private:
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace

Result<Ceilings> measure_ceilings(const Device& device) {
  const auto pool = std::make_shared<Pool>(device);
  RUNNEL_ASSIGN(const auto data, DeviceBuffer::allocate(pool, kReadBytes));
  RUNNEL_ASSIGN(const auto sink, DeviceBuffer::allocate(pool, 64));
  CeilingArgs args{address({data.get(), 0, 0}), kReadBytes,
                   reinterpret_cast<std::uint32_t*>(address({sink.get(), 0, 0})),
                   device.caps().n_sms * 4, 4000};
  Timer timer;
  Ceilings result;
  RUNNEL_ASSIGN(result.read_bytes, timer.best(Ceiling::read, args, device.stream()));
  RUNNEL_ASSIGN(result.int8_ops, timer.best(Ceiling::dp4a, args, device.stream()));
  RUNNEL_ASSIGN(result.f32_ops, timer.best(Ceiling::fma, args, device.stream()));
  if (device.caps().sm >= 80) {
    RUNNEL_ASSIGN(result.bf16_ops, timer.best(Ceiling::mma, args, device.stream()));
  }
  return result;
}

}  // namespace runnel::cuda
