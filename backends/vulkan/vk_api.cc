#include "backends/vulkan/vk_api.h"

#include <dlfcn.h>

#include <string>

namespace runnel::vulkan {

VkApi::~VkApi() {
  if (library_ != nullptr) dlclose(library_);
}

Status VkApi::open() {
  library_ = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library_ == nullptr) return {Code::unsupported, "no Vulkan loader (libvulkan.so.1)"};
  GetInstanceProcAddr =
      reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(library_, "vkGetInstanceProcAddr"));
  if (GetInstanceProcAddr == nullptr)
    return {Code::unsupported, "libvulkan.so.1 has no vkGetInstanceProcAddr"};
  EnumerateInstanceVersion = reinterpret_cast<PFN_vkEnumerateInstanceVersion>(
      GetInstanceProcAddr(nullptr, "vkEnumerateInstanceVersion"));
  EnumerateInstanceLayerProperties = reinterpret_cast<PFN_vkEnumerateInstanceLayerProperties>(
      GetInstanceProcAddr(nullptr, "vkEnumerateInstanceLayerProperties"));
  CreateInstance =
      reinterpret_cast<PFN_vkCreateInstance>(GetInstanceProcAddr(nullptr, "vkCreateInstance"));
  std::uint32_t version = 0;
  if (CreateInstance == nullptr || EnumerateInstanceVersion == nullptr ||
      EnumerateInstanceLayerProperties == nullptr ||
      EnumerateInstanceVersion(&version) != VK_SUCCESS || version < VK_API_VERSION_1_1)
    return {Code::unsupported, "the Vulkan loader is older than 1.1"};
  return {};
}

Status VkApi::load_instance(VkInstance instance) {
  bool complete = true;
#define RUNNEL_VK_LOAD(name)                                                        \
  name = reinterpret_cast<PFN_vk##name>(GetInstanceProcAddr(instance, "vk" #name)); \
  complete = complete && name != nullptr;
  RUNNEL_VK_INSTANCE_FUNCTIONS(RUNNEL_VK_LOAD)
#undef RUNNEL_VK_LOAD
  return complete ? Status() : Status(Code::unsupported, "the Vulkan instance lacks functions");
}

Status VkApi::load_device(VkDevice device) {
  bool complete = true;
#define RUNNEL_VK_LOAD(name)                                                    \
  name = reinterpret_cast<PFN_vk##name>(GetDeviceProcAddr(device, "vk" #name)); \
  complete = complete && name != nullptr;
  RUNNEL_VK_DEVICE_FUNCTIONS(RUNNEL_VK_LOAD)
#undef RUNNEL_VK_LOAD
  return complete ? Status() : Status(Code::unsupported, "the Vulkan device lacks functions");
}

std::string_view result_name(VkResult result) {
  switch (result) {
    case VK_SUCCESS:
      return "VK_SUCCESS";
    case VK_NOT_READY:
      return "VK_NOT_READY";
    case VK_TIMEOUT:
      return "VK_TIMEOUT";
    case VK_ERROR_OUT_OF_HOST_MEMORY:
      return "VK_ERROR_OUT_OF_HOST_MEMORY";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
      return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
    case VK_ERROR_INITIALIZATION_FAILED:
      return "VK_ERROR_INITIALIZATION_FAILED";
    case VK_ERROR_DEVICE_LOST:
      return "VK_ERROR_DEVICE_LOST";
    case VK_ERROR_MEMORY_MAP_FAILED:
      return "VK_ERROR_MEMORY_MAP_FAILED";
    case VK_ERROR_LAYER_NOT_PRESENT:
      return "VK_ERROR_LAYER_NOT_PRESENT";
    case VK_ERROR_EXTENSION_NOT_PRESENT:
      return "VK_ERROR_EXTENSION_NOT_PRESENT";
    case VK_ERROR_FEATURE_NOT_PRESENT:
      return "VK_ERROR_FEATURE_NOT_PRESENT";
    case VK_ERROR_INCOMPATIBLE_DRIVER:
      return "VK_ERROR_INCOMPATIBLE_DRIVER";
    case VK_ERROR_TOO_MANY_OBJECTS:
      return "VK_ERROR_TOO_MANY_OBJECTS";
    case VK_ERROR_OUT_OF_POOL_MEMORY:
      return "VK_ERROR_OUT_OF_POOL_MEMORY";
    default:
      return "a Vulkan error";
  }
}

Status to_status(VkResult result, std::string_view what) {
  Code code = Code::internal;
  switch (result) {
    case VK_SUCCESS:
      return {};
    case VK_ERROR_DEVICE_LOST:
      code = Code::device_lost;
      break;
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_OUT_OF_POOL_MEMORY:
    case VK_ERROR_TOO_MANY_OBJECTS:
    case VK_ERROR_MEMORY_MAP_FAILED:
      code = Code::out_of_memory;
      break;
    case VK_ERROR_INITIALIZATION_FAILED:
    case VK_ERROR_INCOMPATIBLE_DRIVER:
    case VK_ERROR_FEATURE_NOT_PRESENT:
    case VK_ERROR_LAYER_NOT_PRESENT:
    case VK_ERROR_EXTENSION_NOT_PRESENT:
      code = Code::unsupported;
      break;
    default:
      break;
  }
  return {code, "vulkan: " + std::string(what) + ": " + std::string(result_name(result)) +
                    (result_name(result) == "a Vulkan error"
                         ? " " + std::to_string(static_cast<int>(result))
                         : "")};
}

}  // namespace runnel::vulkan
