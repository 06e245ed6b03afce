// Which backends an Engine has, and which layers of a model a backend with memory of its own gets.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/backend/registry.h"
#include "runtime/compile/layout.h"

namespace runnel {

/// The backend of that name ("auto": the best that works), then what it cannot do goes to: the best
/// on host memory, and the reference. ERRORS: invalid_argument, unsupported, as
/// BackendInfo::create.
Result<std::vector<std::unique_ptr<Backend>>> create_backends(const std::string& name,
                                                              const BackendOptions& options);

/// For CompileOptions: the last n_device of n_layers layers and what follows them are meant for
/// backend 0, the others and the embedding for backend 1. Empty when all are for backend 0.
std::function<std::size_t(const Node&)> meant_by_layer(std::int64_t n_layers,
                                                       std::int64_t n_device);

/// What backend 0 allocates for a layout: weights, arena, scratch, and states of `capacity` tokens.
/// REQUIRES: it has memory of its own.
std::size_t device_bytes(const PlanLayout& layout,
                         std::span<Backend* const> backends,
                         std::int64_t capacity);

}  // namespace runnel
