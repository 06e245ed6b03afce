// One Vulkan device with its compute queue, and what it can do. Used by one thread at a time.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/vulkan/vk_api.h"
#include "runtime/base/log.h"

namespace runnel::vulkan {

/// A matrix size of VK_KHR_cooperative_matrix: f16 times f16 into f32, one subgroup.
struct CooperativeMatrix {
  std::uint32_t m = 0, n = 0, k = 0;  // 0: none
};

/// What rows of the kernel table ask for, and limits.
struct Caps {
  std::string name, driver;  // for people
  std::uint32_t vendor = 0, device = 0, driver_version = 0, api_version = 0;
  std::array<std::uint8_t, VK_UUID_SIZE> uuid{};  // of the pipeline cache: device and driver
  bool is_software = false;                       // a CPU that emulates a GPU
  bool subgroup_arithmetic = false;               // subgroupAdd and subgroupMax in compute shaders
  bool subgroup_clustered = false;                // the same among neighbours
  std::uint32_t subgroup_size = 1;
  bool float16 = false, storage16 = false, storage8 = false, integer_dot = false;
  CooperativeMatrix matrix;
  std::size_t max_binding_bytes = 0;  // of one storage buffer binding
  std::size_t shared_bytes = 0;       // of a workgroup
  std::uint32_t max_invocations = 0;  // of a workgroup
  float nanoseconds_per_tick = 0;     // of time stamps; 0: none
  std::uint64_t memory_bytes = 0;     // of the largest device-local heap
};

/// Every device of this machine that Runnel can use, GPUs first. ERRORS: unsupported (no loader).
Result<std::vector<Caps>> list_devices();

class Device {
 public:
  /// The device whose index or a part of whose name is `wanted`; else the first GPU, else the first
  /// device. ERRORS: unsupported (none), out_of_memory.
  static Result<std::unique_ptr<Device>> create(const std::string& wanted, const Log& log);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device();

  const VkApi& api() const { return api_; }
  VkDevice handle() const { return device_; }
  const Caps& caps() const { return caps_; }
  std::uint32_t queue_family() const { return family_; }
  const VkPhysicalDeviceMemoryProperties& memory() const { return memory_; }
  /// Runs recorded command buffers in order. ERRORS: device_lost, out_of_memory.
  Status submit(std::span<const VkCommandBuffer> commands);
  /// Blocks until all that was submitted is done. ERRORS: device_lost.
  Status wait();
  VkCommandPool command_pool() const { return pool_; }
  Result<VkCommandBuffer> new_commands() const;

 private:
  Device() = default;
  Status create_instance();
  Status listen();
  static VkBool32 VKAPI_PTR complain(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                     VkDebugUtilsMessageTypeFlagsEXT types,
                                     const VkDebugUtilsMessengerCallbackDataEXT* data,
                                     void* device);
  Status choose(const std::string& wanted);
  Status create_device();

  VkApi api_;
  VkInstance instance_ = VK_NULL_HANDLE;
  VkPhysicalDevice physical_ = VK_NULL_HANDLE;
  VkDevice device_ = VK_NULL_HANDLE;
  VkQueue queue_ = VK_NULL_HANDLE;
  VkCommandPool pool_ = VK_NULL_HANDLE;
  VkFence fence_ = VK_NULL_HANDLE;
  bool in_flight_ = false;
  VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
  Log log_;
  int n_complaints_ = 0;  // of the validation layers
  std::uint32_t family_ = 0;
  Caps caps_;
  VkPhysicalDeviceMemoryProperties memory_{};
};

}  // namespace runnel::vulkan
