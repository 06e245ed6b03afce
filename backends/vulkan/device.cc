#include "backends/vulkan/device.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "backends/vulkan/device_caps.h"
#include "runtime/base/env.h"

namespace runnel::vulkan {
namespace {

constexpr const char* kValidation = "VK_LAYER_KHRONOS_validation";

VkApplicationInfo application() {
  VkApplicationInfo info{};
  info.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
  info.pApplicationName = "runnel";
  info.apiVersion = VK_API_VERSION_1_3;
  return info;
}

Result<VkInstance> new_instance(const VkApi& api, bool validate) {
  const VkApplicationInfo app = application();
  const char* const extension = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
  VkInstanceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  info.pApplicationInfo = &app;
  if (validate) {
    info.enabledLayerCount = 1;
    info.ppEnabledLayerNames = &kValidation;
    info.enabledExtensionCount = 1;
    info.ppEnabledExtensionNames = &extension;
  }
  VkInstance instance = VK_NULL_HANDLE;
  RUNNEL_TRY(to_status(api.CreateInstance(&info, nullptr, &instance), "vkCreateInstance"));
  return instance;
}

/// The first instance of a process stays: loaders unload a driver with its last instance, and one
/// could not be loaded again after some twenty times.
Result<VkInstance> make_instance(const VkApi& api, bool validate) {
  [[maybe_unused]] static const bool kKept = new_instance(api, false).ok();
  return new_instance(api, validate);
}

/// Usable devices, GPUs before CPUs, as the driver orders them otherwise.
Result<std::vector<std::pair<VkPhysicalDevice, Caps>>> usable_devices(const VkApi& api,
                                                                      VkInstance instance) {
  std::uint32_t count = 0;
  RUNNEL_TRY(to_status(api.EnumeratePhysicalDevices(instance, &count, nullptr), "listing devices"));
  std::vector<VkPhysicalDevice> all(count);
  const VkResult listed = api.EnumeratePhysicalDevices(instance, &count, all.data());
  if (listed != VK_INCOMPLETE) RUNNEL_TRY(to_status(listed, "listing devices"));
  all.resize(count);
  std::vector<std::pair<VkPhysicalDevice, Caps>> devices;
  for (VkPhysicalDevice physical : all)
    if (auto caps = read_caps(api, instance, physical); caps.ok())
      devices.emplace_back(physical, *std::move(caps));
  std::ranges::stable_sort(devices, {}, [](const auto& d) { return d.second.is_software; });
  return devices;
}

}  // namespace

Result<std::vector<Caps>> list_devices() {
  VkApi api;
  RUNNEL_TRY(api.open());
  RUNNEL_ASSIGN(const VkInstance instance, make_instance(api, false));
  RUNNEL_TRY(api.load_instance(instance));
  auto devices = usable_devices(api, instance);
  api.DestroyInstance(instance, nullptr);
  if (!devices.ok()) return devices.status();
  std::vector<Caps> all;
  for (auto& [physical, caps] : *devices) all.push_back(std::move(caps));
  return all;
}

Status Device::create_instance() {
  RUNNEL_TRY(api_.open());
  const bool validate = env("RUNNEL_VULKAN_VALIDATE").has_value();
  RUNNEL_ASSIGN(instance_, make_instance(api_, validate));
  RUNNEL_TRY(api_.load_instance(instance_));
  return validate ? listen() : Status();
}

/// Validation messages go to the log and make wait() fail.
Status Device::listen() {
  const auto create = reinterpret_cast<PFN_vkCreateDebugUtilsMessengerEXT>(
      api_.GetInstanceProcAddr(instance_, "vkCreateDebugUtilsMessengerEXT"));
  if (create == nullptr) return {Code::unsupported, "vulkan: no debug messenger"};
  VkDebugUtilsMessengerCreateInfoEXT info{};
  info.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT;
  info.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                         VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;
  info.pfnUserCallback = complain;
  info.pUserData = this;
  return to_status(create(instance_, &info, nullptr, &messenger_), "vkCreateDebugUtilsMessenger");
}

VkBool32 VKAPI_PTR Device::complain(VkDebugUtilsMessageSeverityFlagBitsEXT,
                                    VkDebugUtilsMessageTypeFlagsEXT,
                                    const VkDebugUtilsMessengerCallbackDataEXT* data,
                                    void* device) {
  auto* self = static_cast<Device*>(device);
  ++self->n_complaints_;
  self->log_(LogLevel::error, "vulkan_validation=", data->pMessage);
  return VK_FALSE;
}

Status Device::choose(const std::string& wanted) {
  RUNNEL_ASSIGN(auto devices, usable_devices(api_, instance_));
  std::string names;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const std::string& name = devices[i].second.name;
    names += (i == 0 ? "" : ", ") + std::to_string(i) + " = " + name;
    const bool fits = wanted.empty() || wanted == std::to_string(i) ||
                      (!std::isdigit(static_cast<unsigned char>(wanted[0])) &&
                       name.find(wanted) != std::string::npos);
    if (!fits || physical_ != VK_NULL_HANDLE) continue;
    physical_ = devices[i].first;
    caps_ = devices[i].second;
  }
  if (physical_ != VK_NULL_HANDLE) return {};
  if (devices.empty()) return {Code::unsupported, "no Vulkan device that Runnel can use"};
  return {Code::unsupported, "no Vulkan device \"" + wanted + "\"; there is " + names};
}

Status Device::create_device() {
  DeviceFeatures features;
  RUNNEL_TRY(read_features(api_, physical_, caps_, features));
  std::uint32_t count = 0;
  api_.GetPhysicalDeviceQueueFamilyProperties(physical_, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  api_.GetPhysicalDeviceQueueFamilyProperties(physical_, &count, families.data());
  const auto computes = [](const VkQueueFamilyProperties& f) {
    return (f.queueFlags & VK_QUEUE_COMPUTE_BIT) != 0;
  };
  family_ = static_cast<std::uint32_t>(std::ranges::find_if(families, computes) - families.begin());
  const float priority = 1.0f;
  VkDeviceQueueCreateInfo queue{};
  queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
  queue.queueFamilyIndex = family_;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  VkDeviceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  info.pNext = &features.core;
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue;
  info.enabledExtensionCount = static_cast<std::uint32_t>(features.extensions.size());
  info.ppEnabledExtensionNames = features.extensions.data();
  RUNNEL_TRY(to_status(api_.CreateDevice(physical_, &info, nullptr, &device_), "vkCreateDevice"));
  RUNNEL_TRY(api_.load_device(device_));
  api_.GetDeviceQueue(device_, family_, 0, &queue_);
  api_.GetPhysicalDeviceMemoryProperties(physical_, &memory_);
  VkCommandPoolCreateInfo pool{};
  pool.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  pool.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  pool.queueFamilyIndex = family_;
  RUNNEL_TRY(to_status(api_.CreateCommandPool(device_, &pool, nullptr, &pool_), "command pool"));
  VkFenceCreateInfo fence{};
  fence.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
  return to_status(api_.CreateFence(device_, &fence, nullptr, &fence_), "vkCreateFence");
}

Result<std::unique_ptr<Device>> Device::create(const std::string& wanted, const Log& log) {
  std::unique_ptr<Device> device(new Device);
  device->log_ = log;
  RUNNEL_TRY(device->create_instance());
  RUNNEL_TRY(device->choose(wanted));
  RUNNEL_TRY(device->create_device());
  return device;
}

Device::~Device() {
  if (device_ != VK_NULL_HANDLE && api_.DestroyDevice != nullptr) {
    if (in_flight_) api_.DeviceWaitIdle(device_);
    if (fence_ != VK_NULL_HANDLE) api_.DestroyFence(device_, fence_, nullptr);
    if (pool_ != VK_NULL_HANDLE) api_.DestroyCommandPool(device_, pool_, nullptr);
    api_.DestroyDevice(device_, nullptr);
  }
  if (instance_ == VK_NULL_HANDLE || api_.DestroyInstance == nullptr) return;
  if (messenger_ != VK_NULL_HANDLE) {
    const auto destroy = reinterpret_cast<PFN_vkDestroyDebugUtilsMessengerEXT>(
        api_.GetInstanceProcAddr(instance_, "vkDestroyDebugUtilsMessengerEXT"));
    if (destroy != nullptr) destroy(instance_, messenger_, nullptr);
  }
  api_.DestroyInstance(instance_, nullptr);
}

Status Device::submit(std::span<const VkCommandBuffer> commands) {
  RUNNEL_TRY(wait());
  VkSubmitInfo info{};
  info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  info.commandBufferCount = static_cast<std::uint32_t>(commands.size());
  info.pCommandBuffers = commands.data();
  RUNNEL_TRY(to_status(api_.QueueSubmit(queue_, 1, &info, fence_), "vkQueueSubmit"));
  in_flight_ = true;
  return {};
}

Status Device::wait() {
  if (!in_flight_) return {};
  // A sleeping thread wakes up late; a software driver needs the core that polling would take.
  constexpr int kPolls = 20000;
  VkResult done = VK_NOT_READY;
  for (int i = 0; i < kPolls && !caps_.is_software && done == VK_NOT_READY; ++i)
    done = api_.GetFenceStatus(device_, fence_);
  if (done == VK_NOT_READY)
    done = api_.WaitForFences(device_, 1, &fence_, VK_TRUE, ~std::uint64_t{0});
  in_flight_ = false;
  RUNNEL_TRY(to_status(done, "waiting for the device"));
  RUNNEL_TRY(to_status(api_.ResetFences(device_, 1, &fence_), "vkResetFences"));
  if (n_complaints_ > 0) return {Code::internal, "vulkan: the validation layers complained"};
  return {};
}

Result<VkCommandBuffer> Device::new_commands() const {
  VkCommandBufferAllocateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  info.commandPool = pool_;
  info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  info.commandBufferCount = 1;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  RUNNEL_TRY(to_status(api_.AllocateCommandBuffers(device_, &info, &commands), "command buffer"));
  return commands;
}

}  // namespace runnel::vulkan
