// `runnel bench`: what is measured, and how it is shown.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/app.h"

namespace runnel::app {

using Json = nlohmann::ordered_json;

struct BenchFlags {
  ModelFlags model;  // its type and threads are one of those below
  std::vector<std::string> types{"q4_0"};
  std::vector<int> threads{0}, depths{0};
  int n_prompt = 512, n_generate = 128, repeats = 5;
  bool json = false, profile = false;
};

/// One line of the table: a model type, a number of threads, a depth.
struct BenchCase {
  std::string type;
  int threads = 0, depth = 0;
};

/// Loads the model and measures it. The object's fields are documented in the README.
Json measure_case(const BenchFlags& flags, const BenchCase& which);

/// The table on stdout: a head once, then a line per case as soon as it is there.
void print_head(const BenchFlags& flags);
void print_case(const Json& row);
/// After the lines: ceilings by number of threads, and profiles.
void print_ceilings(const Json& rows);
void print_profile(const Json& row);

/// Middle value, and (third - first quartile) / median. REQUIRES: values is not empty.
double median(std::vector<double> values);
double spread(const std::vector<double>& values);

}  // namespace runnel::app
