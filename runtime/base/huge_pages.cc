#include "runtime/base/huge_pages.h"

#include <cstdint>
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "runtime/base/checked.h"

namespace runnel {

void prefer_huge_pages([[maybe_unused]] std::span<std::byte> memory) {
#if defined(__linux__)
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  const std::size_t skipped = align_up(address, page) - address;
  if (skipped >= memory.size()) return;
  // A hint: where it is refused, nothing is lost.
  static_cast<void>(::madvise(memory.data() + skipped, memory.size() - skipped, MADV_HUGEPAGE));
#endif
}

}  // namespace runnel
