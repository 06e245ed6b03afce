// Measures what memory and the arithmetic units give to a pool of threads.
#pragma once
#include "backends/cpu/isa/ceilings.h"
#include "runtime/backend/backend.h"
#include "runtime/base/thread_pool.h"

namespace runnel::cpu {

/// Best of a few passes, all threads at the same time. Other programs that run meanwhile lower the
/// result: measure again, and take the median. ERRORS: out_of_memory.
Result<Ceilings> measure_ceilings(const CeilingLoops& loops, ThreadPool& pool);

}  // namespace runnel::cpu
