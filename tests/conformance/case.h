// A conformance case: one node, its operands and one step, as data. Cases know no backend.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/backend/step.h"
#include "runtime/graph/graph.h"

namespace runnel::conformance {

enum class Fill : std::uint8_t {
  normal,    // Gaussian times scale
  ties,      // a few distinct values, so that many are equal
  ids,       // i32 below limit
  distinct,  // i32 below limit, all different within a row
  zeros,
  one_hot,     // one value in every 64
  biased,      // normal, far from zero
  nans,        // normal, with NaN here and there
  nans_first,  // the same, the first value among them
};

/// One input of the node.
struct Operand {
  Role role = Role::input;
  Shape shape;
  DType dtype = DType::f32;
  Fill fill = Fill::normal;
  float scale = 1.0f;
  std::int64_t limit = 0;  // ids only
  StateKind state = StateKind::none;
  bool per_token = true;                        // inputs only
  bool half = false;                            // inputs only: values that f16 holds
  quant::KvFormat kv = quant::KvFormat::plain;  // K and V states: tiles
};

struct Case {
  Op op = Op::count;
  std::string name;          // op and sizes; also the seed of its data
  DType dtype = DType::f32;  // of the weight matrix or of the pages: selects the tolerance
  Attr attr;
  std::int64_t max_tokens = 1;
  StepParams params;
  std::vector<Operand> in;
};

/// All cases, in op order.
std::vector<Case> all_cases();

}  // namespace runnel::conformance
