#include "backends/vulkan/device_caps.h"

#include <algorithm>
#include <cstring>

namespace runnel::vulkan {
namespace {

// What the shaders were written for; offsets in an arena are multiples of 64.
constexpr std::uint32_t kMinBindings = 14, kMinInvocations = 256, kMaxOffsetAlignment = 64;
constexpr std::size_t kMinShared = 32768;

bool has_extension(const VkApi& api, VkPhysicalDevice physical, std::string_view name) {
  std::uint32_t count = 0;
  if (api.EnumerateDeviceExtensionProperties(physical, nullptr, &count, nullptr) != VK_SUCCESS)
    return false;
  std::vector<VkExtensionProperties> all(count);
  api.EnumerateDeviceExtensionProperties(physical, nullptr, &count, all.data());
  return std::ranges::any_of(all, [&](const auto& e) { return name == e.extensionName; });
}

/// Links and asks for the structures that an API version has.
void query_features(const VkApi& api,
                    VkPhysicalDevice physical,
                    std::uint32_t version,
                    bool cooperative,
                    DeviceFeatures& f) {
  f.core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  f.v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES;
  f.v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
  f.v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES;
  void** tail = &f.core.pNext;
  if (version >= VK_API_VERSION_1_2) {
    *tail = &f.v11;
    f.v11.pNext = &f.v12;
    tail = &f.v12.pNext;
  }
  if (version >= VK_API_VERSION_1_3) {
    *tail = &f.v13;
    tail = &f.v13.pNext;
  }
  if (cooperative) *tail = &f.cooperative;
  api.GetPhysicalDeviceFeatures2(physical, &f.core);
}

/// The largest size of f16 x f16 -> f32 for one subgroup.
CooperativeMatrix find_matrix(const VkApi& api, VkInstance instance, VkPhysicalDevice physical) {
  const auto list = reinterpret_cast<GetCooperativeProperties>(
      api.GetInstanceProcAddr(instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"));
  std::uint32_t count = 0;
  if (list == nullptr || list(physical, &count, nullptr) != VK_SUCCESS) return {};
  std::vector<CooperativeProperties> all(count);
  list(physical, &count, all.data());
  CooperativeMatrix best;
  for (const CooperativeProperties& p : all)
    if (p.a == kComponentF16 && p.b == kComponentF16 && p.c == kComponentF32 &&
        p.result == kComponentF32 && p.scope == kScopeSubgroup && !p.saturates &&
        p.m * p.n * p.k > best.m * best.n * best.k)
      best = {p.m, p.n, p.k};
  return best;
}

Status usable(const VkPhysicalDeviceProperties& properties, const DeviceFeatures& features) {
  const VkPhysicalDeviceLimits& limits = properties.limits;
  const bool fits = properties.apiVersion >= VK_API_VERSION_1_1 &&
                    features.core.features.shaderStorageBufferArrayDynamicIndexing &&
                    limits.maxPerStageDescriptorStorageBuffers >= kMinBindings &&
                    limits.maxComputeWorkGroupInvocations >= kMinInvocations &&
                    limits.maxComputeSharedMemorySize >= kMinShared &&
                    limits.maxPushConstantsSize >= 128 && limits.maxBoundDescriptorSets >= 2 &&
                    limits.minStorageBufferOffsetAlignment <= kMaxOffsetAlignment;
  return fits ? Status()
              : Status(Code::unsupported,
                       std::string(properties.deviceName) + ": below what the shaders need");
}

}  // namespace

Result<Caps> read_caps(const VkApi& api, VkInstance instance, VkPhysicalDevice physical) {
  VkPhysicalDeviceSubgroupProperties subgroup{};
  subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
  VkPhysicalDeviceProperties2 properties{};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  properties.pNext = &subgroup;
  api.GetPhysicalDeviceProperties2(physical, &properties);
  const VkPhysicalDeviceProperties& p = properties.properties;
  const bool cooperative =
      p.apiVersion >= VK_API_VERSION_1_3 && has_extension(api, physical, kCooperativeExtension);
  DeviceFeatures features;
  query_features(api, physical, p.apiVersion, cooperative, features);
  RUNNEL_TRY(usable(p, features));
  Caps caps;
  caps.name = p.deviceName;
  caps.vendor = p.vendorID;
  caps.device = p.deviceID;
  caps.driver_version = p.driverVersion;
  caps.api_version = p.apiVersion;
  caps.driver = std::to_string(p.driverVersion);
  std::copy_n(p.pipelineCacheUUID, VK_UUID_SIZE, caps.uuid.begin());
  caps.is_software = p.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
  constexpr VkSubgroupFeatureFlags kWanted =
      VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
  caps.subgroup_arithmetic = (subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0 &&
                             (subgroup.supportedOperations & kWanted) == kWanted;
  caps.subgroup_clustered = caps.subgroup_arithmetic &&
                            (subgroup.supportedOperations & VK_SUBGROUP_FEATURE_CLUSTERED_BIT) != 0;
  caps.subgroup_size = subgroup.subgroupSize;
  caps.float16 = features.v12.shaderFloat16;
  caps.storage16 = features.v11.storageBuffer16BitAccess;
  caps.storage8 = features.v12.storageBuffer8BitAccess;
  caps.integer_dot = features.v13.shaderIntegerDotProduct;
  if (cooperative && features.cooperative.cooperativeMatrix && features.v12.vulkanMemoryModel &&
      caps.float16 && caps.storage16)
    caps.matrix = find_matrix(api, instance, physical);
  caps.max_binding_bytes = p.limits.maxStorageBufferRange;
  caps.shared_bytes = p.limits.maxComputeSharedMemorySize;
  caps.max_invocations = p.limits.maxComputeWorkGroupInvocations;
  if (p.limits.timestampComputeAndGraphics) caps.nanoseconds_per_tick = p.limits.timestampPeriod;
  VkPhysicalDeviceMemoryProperties memory{};
  api.GetPhysicalDeviceMemoryProperties(physical, &memory);
  for (std::uint32_t i = 0; i < memory.memoryHeapCount; ++i)
    if (memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
      caps.memory_bytes = std::max<std::uint64_t>(caps.memory_bytes, memory.memoryHeaps[i].size);
  return caps;
}

Status read_features(const VkApi& api,
                     VkPhysicalDevice physical,
                     const Caps& caps,
                     DeviceFeatures& features) {
  const bool cooperative = caps.matrix.m != 0;
  DeviceFeatures has;
  query_features(api, physical, caps.api_version, cooperative, has);
  query_features(api, physical, caps.api_version, cooperative, features);  // for the links
  features.core.features = {};
  features.core.features.shaderStorageBufferArrayDynamicIndexing = VK_TRUE;
  void* const links[] = {features.v11.pNext, features.v12.pNext, features.v13.pNext};
  features.v11 = {};
  features.v12 = {};
  features.v13 = {};
  features.v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES;
  features.v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
  features.v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES;
  features.v11.pNext = links[0];
  features.v12.pNext = links[1];
  features.v13.pNext = links[2];
  features.v11.storageBuffer16BitAccess = has.v11.storageBuffer16BitAccess;
  features.v12.storageBuffer8BitAccess = has.v12.storageBuffer8BitAccess;
  features.v12.shaderFloat16 = has.v12.shaderFloat16;
  features.v12.vulkanMemoryModel = has.v12.vulkanMemoryModel;
  features.v12.vulkanMemoryModelDeviceScope = has.v12.vulkanMemoryModelDeviceScope;
  features.v13.shaderIntegerDotProduct = has.v13.shaderIntegerDotProduct;
  features.cooperative.robustBufferAccess = VK_FALSE;
  if (cooperative) features.extensions.push_back(kCooperativeExtension);
  return {};
}

}  // namespace runnel::vulkan
