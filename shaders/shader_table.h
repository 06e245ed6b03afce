// All compiled shaders, by name: "matvec.q4_0.swiglu" is shaders/ops/matvec.comp with those values
// of its variants (line 1 of the file), in their order. A name that exists is a kernel that exists.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace runnel::shaders {

struct Shader {
  std::string_view name;
  std::span<const std::uint32_t> words;  // SPIR-V
};

/// In the order of their names.
std::span<const Shader> shader_table();
/// Null when there is none.
const Shader* find_shader(std::string_view name);
/// Of all words: changes when any shader does.
std::uint64_t shaders_hash();

}  // namespace runnel::shaders
