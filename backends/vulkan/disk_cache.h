// Small files that outlive a run: compiled pipelines and verdicts about a driver. They lie in
// $XDG_CACHE_HOME/runnel (or ~/.cache/runnel); RUNNEL_VULKAN_CACHE names another folder, "off"
// none. Stateless.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "backends/vulkan/device.h"

namespace runnel::vulkan {

/// Name of the file of this kind for this device, driver and build; empty when there is no folder.
std::string cache_path(const Caps& caps, std::string_view kind);
/// Its content; empty when there is none, or a broken one.
std::vector<std::byte> read_cache_file(const std::string& path);
/// Replaces it as a whole, and makes the folder. ERRORS: io.
Status write_cache_file(const std::string& path, std::span<const std::byte> data);

}  // namespace runnel::vulkan
