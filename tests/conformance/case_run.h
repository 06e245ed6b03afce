// Runs one case on one backend and brings the results back to the host as f32 and i32 arrays.
#pragma once
#include <string>
#include <vector>

#include "runtime/backend/backend.h"
#include "tests/conformance/case_data.h"

namespace runnel::conformance {

enum class Form : std::uint8_t {
  plain,       // one node
  in_place,    // output 0 in the memory of input 0
  decomposed,  // the primitive nodes of a fused op
};

/// An output (rows in use only) or all pages of a state.
struct Tensor {
  std::string name;
  std::int64_t cols = 1;
  bool is_state = false;
  std::vector<float> f32;  // one of the two
  std::vector<std::int32_t> i32;
};

/// ERRORS: unsupported (the backend has no kernel for a node), internal (memory around an operand
/// was written), and what the backend itself reports.
Result<std::vector<Tensor>> run_case(Backend& backend,
                                     const Case& one,
                                     const CaseData& data,
                                     Form form);

}  // namespace runnel::conformance
