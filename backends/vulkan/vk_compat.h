// VK_KHR_cooperative_matrix for headers that are older than it.
// SOURCE: Vulkan specification 1.3.258, chapters 48 and 59; values are part of the binary
// interface.
#pragma once
#include <vulkan/vulkan.h>

namespace runnel::vulkan {

inline constexpr auto kCooperativeFeaturesType = static_cast<VkStructureType>(1000506000);
inline constexpr auto kCooperativePropertiesType = static_cast<VkStructureType>(1000506001);
inline constexpr const char* kCooperativeExtension = "VK_KHR_cooperative_matrix";
inline constexpr std::int32_t kComponentF16 = 0, kComponentF32 = 1, kScopeSubgroup = 3;

struct CooperativeFeatures {
  VkStructureType sType = kCooperativeFeaturesType;  // NOLINT: Vulkan's names
  void* pNext = nullptr;                             // NOLINT
  VkBool32 cooperativeMatrix = VK_FALSE;             // NOLINT
  VkBool32 robustBufferAccess = VK_FALSE;            // NOLINT
};

struct CooperativeProperties {
  VkStructureType sType = kCooperativePropertiesType;  // NOLINT: Vulkan's names
  void* pNext = nullptr;                               // NOLINT
  std::uint32_t m = 0, n = 0, k = 0;
  std::int32_t a = 0, b = 0, c = 0, result = 0;
  VkBool32 saturates = VK_FALSE;
  std::int32_t scope = 0;
};

using GetCooperativeProperties = VkResult(VKAPI_PTR*)(VkPhysicalDevice,
                                                      std::uint32_t*,
                                                      CooperativeProperties*);

}  // namespace runnel::vulkan
