// A device that is not there: reference kernels behind memory of their own, able to run chosen ops
// only.
#pragma once
#include <functional>
#include <set>

#include <doctest/doctest.h>

#include "backends/reference/reference.h"

namespace runnel::tests {

inline std::unique_ptr<Backend> reference_backend() {
  auto backend = reference::backend_info().create({});
  REQUIRE(backend.ok());
  return *std::move(backend);
}

/// Wraps the reference backend. `ops`: what it supports. Counts uploads and downloads.
class FakeDevice : public Backend {
 public:
  explicit FakeDevice(std::set<Op> ops) : ops_(std::move(ops)), inner_(reference_backend()) {}
  std::string_view name() const override { return "fake"; }
  std::string description() const override { return "fake"; }
  bool uses_host_memory() const override { return false; }
  bool supports(const Graph&, const Node& node) const override { return ops_.contains(node.op); }
  std::string_view kernel_name(const Graph& graph, const Node& node) const override {
    return supports(graph, node) ? "fake" : "";
  }
  Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes, MemoryKind kind) override {
    return inner_->allocate(bytes, kind);
  }
  Status upload(BufferView dst, std::span<const std::byte> src) override {
    ++n_uploads;
    return inner_->upload(dst, src);
  }
  Status download(std::span<std::byte> dst, BufferView src) override {
    ++n_downloads;
    return inner_->download(dst, src);
  }
  Result<std::unique_ptr<Buffer>> place_weight(const Value& weight,
                                               std::span<const std::byte> mapped) override {
    return inner_->place_weight(weight, mapped);
  }
  std::size_t weight_bytes(const Value& weight) const override {
    return inner_->weight_bytes(weight);
  }
  std::size_t scratch_bytes(const Graph& graph, std::span<const Node> nodes) const override {
    return inner_->scratch_bytes(graph, nodes);
  }
  Result<std::unique_ptr<Executable>> compile(const Graph& graph, const Segment& segment) override {
    return inner_->compile(graph, segment);
  }
  int n_uploads = 0, n_downloads = 0;

 private:
  std::set<Op> ops_;
  std::unique_ptr<Backend> inner_;
};

}  // namespace runnel::tests
