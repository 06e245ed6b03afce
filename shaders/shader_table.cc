#include "shaders/shader_table.h"

#include <algorithm>

namespace runnel::shaders {

const Shader* find_shader(std::string_view name) {
  const auto table = shader_table();
  const auto found = std::ranges::lower_bound(table, name, {}, &Shader::name);
  return found != table.end() && found->name == name ? &*found : nullptr;
}

std::uint64_t shaders_hash() {
  // SOURCE: FNV-1a, 64 bits, here over words instead of bytes.
  std::uint64_t hash = 0xCBF29CE484222325ull;
  for (const Shader& shader : shader_table())
    for (const std::uint32_t word : shader.words) hash = (hash ^ word) * 0x100000001B3ull;
  return hash;
}

}  // namespace runnel::shaders
