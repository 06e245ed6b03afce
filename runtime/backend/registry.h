// The list of compiled-in backends. Declared here, defined in backends/registry.cc: the runtime
// never includes a backend.
#pragma once
#include <memory>
#include <span>
#include <string_view>

#include "runtime/backend/backend.h"

namespace runnel {

struct BackendOptions {
  int n_threads = 0;          // 0 = the backend's default
  int n_prefill_threads = 0;  // for steps of several tokens; 0 = n_threads
  Log log;
};

struct BackendInfo {
  std::string_view name;
  std::string_view summary;  // one line for `runnel devices`
  /// False when the hardware or driver is missing.
  bool (*available)();
  /// Makes an instance. ERRORS: unsupported, device_lost, out_of_memory.
  Result<std::unique_ptr<Backend>> (*create)(const BackendOptions& options);
  /// Whether "auto" may take it; null: whenever it is available.
  bool (*chosen_by_itself)() = nullptr;
  /// As Backend::uses_host_memory(): known before an instance is made.
  bool host = false;
};

/// All compiled-in backends, best first; "reference" is always last and always available.
std::span<const BackendInfo> backend_registry();

}  // namespace runnel
