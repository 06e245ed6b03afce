// The reference backend as a Backend: memory, weights, compile errors.
#include "runtime/backend/backend.h"

#include <array>

#include "tests/unit/reference/rig.h"

using namespace runnel;
using namespace runnel::reference_test;

TEST_CASE("HostBuffer.IsAlignedZeroedAndSized") {
  for (std::size_t bytes : {0u, 1u, 63u, 64u, 100000u}) {
    auto made = HostBuffer::allocate(bytes);
    REQUIRE(made.ok());
    CHECK((*made)->size() == bytes);
    CHECK(reinterpret_cast<std::uintptr_t>((*made)->host()) % 64 == 0);
    for (std::size_t i = 0; i < bytes; ++i) CHECK((*made)->host()[i] == std::byte{0});
  }
}

TEST_CASE("HostBuffer.RefusesAbsurdSizes") {
  CHECK(HostBuffer::allocate(~std::size_t{0}).status().code() == Code::out_of_memory);
  CHECK(HostBuffer::allocate(HostBuffer::kMaxBytes + 1).status().code() == Code::out_of_memory);
}

TEST_CASE("HostBuffer.BorrowsWithoutCopy") {
  const std::array<std::byte, 3> bytes{};
  const auto borrowed = HostBuffer::borrow(bytes);
  CHECK(borrowed->host() == bytes.data());
  CHECK(borrowed->size() == 3);
}

TEST_CASE("ReferenceBackend.RefusesShortWeights") {
  Rig rig;
  const ValueId id = rig.graph.add_weight("blk.0.w", {2, 32}, DType::q8_0);
  std::vector<std::byte> bytes(67);
  const auto placed = rig.backend->place_weight(rig.graph.value(id), bytes);
  CHECK(placed.status().code() == Code::corrupt);
  CHECK(placed.status().message() == "blk.0.w: has 67 bytes, needs 68");
  CHECK(rig.backend->weight_bytes(rig.graph.value(id)) == 0);
}

TEST_CASE("ReferenceBackend.RefusesBadBindings") {
  Rig rig(2);
  const ValueId x = rig.input({2, 4});
  const ValueId sum = rig.node(Op::add, {x, x});
  std::vector<BufferView> bindings(2);
  const auto compile = [&] {
    const auto made = rig.backend->compile(rig.graph, {rig.graph.nodes(), bindings});
    return made.status().message();
  };
  CHECK(compile() == "add: in0 is not bound to host memory");
  auto buffer = rig.backend->allocate(64, MemoryKind::device);
  REQUIRE(buffer.ok());
  bindings[static_cast<std::size_t>(x)] = {buffer->get(), 0, 32};
  bindings[static_cast<std::size_t>(sum)] = {buffer->get(), 36, 32};
  CHECK(compile() == "add: add is bound to too little memory");
  bindings[static_cast<std::size_t>(sum)] = {buffer->get(), 30, 32};
  CHECK(compile() == "add: add is not aligned to 4 bytes");
  bindings[static_cast<std::size_t>(sum)] = {buffer->get(), 32, 32};
  CHECK(compile() == "");
}

TEST_CASE("ReferenceBackend.SupportsEveryOp") {
  Rig rig;
  for (int i = 0; i < static_cast<int>(Op::count); ++i) {
    Node node;
    node.op = static_cast<Op>(i);
    CHECK(rig.backend->supports(rig.graph, node));
    CHECK(rig.backend->kernel_name(rig.graph, node) == schema(node.op).name);
  }
}

TEST_CASE("ReferenceBackend.ScratchIsTheLargestOfItsNodes") {
  Rig rig(2);
  const ValueId x = rig.input({2, 32});
  const ValueId y = rig.node(Op::matmul, {x, rig.weight({100, 32}, Floats(3200))});
  rig.node(Op::matmul, {y, rig.weight({4, 100}, Floats(400)), rig.weight({4}, Floats(4))});
  CHECK(rig.backend->scratch_bytes(rig.graph, rig.graph.nodes()) == 104 * sizeof(float));
}

TEST_CASE("ReferenceBackend.CopiesOnlyWhatFits") {
  Rig rig;
  auto buffer = rig.backend->allocate(8, MemoryKind::device);
  REQUIRE(buffer.ok());
  std::array<std::byte, 8> bytes;
  bytes.fill(std::byte{7});
  CHECK(rig.backend->upload({buffer->get(), 4, 4}, bytes).code() == Code::invalid_argument);
  CHECK(rig.backend->upload({buffer->get(), 4, 4}, std::span(bytes).first(4)).ok());
  CHECK(rig.backend->download(bytes, {buffer->get(), 0, 8}).ok());
  CHECK(bytes[3] == std::byte{0});
  CHECK(bytes[4] == std::byte{7});
  CHECK(rig.backend->download(bytes, {buffer->get(), 4, 4}).code() == Code::invalid_argument);
}
