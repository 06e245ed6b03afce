#include "backends/vulkan/spirv.h"

#include <algorithm>
#include <map>

namespace runnel::vulkan {
namespace {

constexpr std::uint32_t kMagic = 0x07230203;
constexpr std::size_t kHeaderWords = 5;
constexpr std::uint32_t kOpTypeArray = 28, kOpTypePointer = 32, kOpConstant = 43, kOpVariable = 59,
                        kOpDecorate = 71;
constexpr std::uint32_t kBinding = 33, kDescriptorSet = 34;
constexpr std::uint32_t kStorageUniform = 2, kStorageBuffer = 12;

struct Variable {
  std::uint32_t type = 0, binding = 0, set = 0;
};

struct Module {
  std::map<std::uint32_t, std::uint32_t> pointee, array_length, constant, binding, set;
  std::map<std::uint32_t, Variable> variables;

  void read(std::uint32_t op, std::span<const std::uint32_t> args) {
    if (op == kOpTypePointer && args.size() >= 3) pointee[args[0]] = args[2];
    if (op == kOpTypeArray && args.size() >= 3) array_length[args[0]] = args[2];
    if (op == kOpConstant && args.size() >= 3) constant[args[1]] = args[2];
    if (op == kOpDecorate && args.size() >= 3 && args[1] == kBinding) binding[args[0]] = args[2];
    if (op == kOpDecorate && args.size() >= 3 && args[1] == kDescriptorSet) set[args[0]] = args[2];
    if (op == kOpVariable && args.size() >= 3 &&
        (args[2] == kStorageBuffer || args[2] == kStorageUniform))
      variables[args[1]].type = args[0];
  }
};

}  // namespace

Result<ShaderInterface> reflect(std::span<const std::uint32_t> words) {
  const Status corrupt(Code::corrupt, "vulkan: a shader is no SPIR-V");
  if (words.size() < kHeaderWords || words[0] != kMagic) return corrupt;
  Module module;
  for (std::size_t at = kHeaderWords; at < words.size();) {
    const std::size_t length = words[at] >> 16;
    if (length == 0 || length > words.size() - at) return corrupt;
    module.read(words[at] & 0xFFFF, words.subspan(at + 1, length - 1));
    at += length;
  }
  ShaderInterface interface;
  for (const auto& [id, variable] : module.variables) {
    if (module.set[id] == 1) interface.uses_step = true;
    if (module.set[id] != 0) continue;
    const std::uint32_t binding = module.binding[id];
    if (binding >= 32) return corrupt;
    const auto array = module.array_length.find(module.pointee[variable.type]);
    const std::uint32_t count =
        array == module.array_length.end() ? 1 : module.constant[array->second];
    if (interface.counts.size() <= binding) interface.counts.resize(binding + 1, 0);
    interface.counts[binding] = std::max(interface.counts[binding], count);
  }
  return interface;
}

}  // namespace runnel::vulkan
