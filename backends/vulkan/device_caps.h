// What a physical device can do, and which of its features Runnel switches on. Stateless.
#pragma once
#include <vector>

#include "backends/vulkan/device.h"
#include "backends/vulkan/vk_compat.h"

namespace runnel::vulkan {

/// A chain for vkCreateDevice, linked up to what the device knows. Not to be copied.
struct DeviceFeatures {
  VkPhysicalDeviceFeatures2 core{};
  VkPhysicalDeviceVulkan11Features v11{};
  VkPhysicalDeviceVulkan12Features v12{};
  VkPhysicalDeviceVulkan13Features v13{};
  CooperativeFeatures cooperative{};
  std::vector<const char*> extensions;
  DeviceFeatures() = default;
  DeviceFeatures(const DeviceFeatures&) = delete;
  DeviceFeatures& operator=(const DeviceFeatures&) = delete;
};

/// ERRORS: unsupported, when the device lacks what every shader needs.
Result<Caps> read_caps(const VkApi& api, VkInstance instance, VkPhysicalDevice physical);
/// Fills `features` with what to switch on. ERRORS: unsupported.
Status read_features(const VkApi& api,
                     VkPhysicalDevice physical,
                     const Caps& caps,
                     DeviceFeatures& features);

}  // namespace runnel::vulkan
