// Fewer page table look-ups for memory that is used all over.
#pragma once
#include <cstddef>
#include <span>

namespace runnel {

/// Asks the system for huge pages where `memory` is touched from now on. Costs up to a huge page of
/// memory at each end; does nothing where the system has none to give.
void prefer_huge_pages(std::span<std::byte> memory);

}  // namespace runnel
