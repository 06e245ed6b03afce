// The table, the ceilings and the profiles of `runnel bench`, for people.
#include <cstdio>
#include <map>

#include "apps/bench.h"

namespace runnel::app {
namespace {

/// "12.3", or "-" when there is nothing to show.
std::string number(const Json& value, double scale, int digits) {
  if (!value.is_number()) return "-";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value.get<double>() * scale);
  return text;
}

/// A field of an object; null when the object or the field is not there.
Json field(const Json& object, const char* name) {
  return object.is_object() && object.contains(name) ? object[name] : Json();
}

std::string speed(const Json& part) {
  const Json value = field(part, "tokens_per_second");
  return number(value, 1, value.is_number() && value.get<double>() < 100 ? 2 : 1);
}

/// "   12.34" per second in `unit`, blank when there is nothing to count.
std::string rate(double amount, double seconds, const char* unit) {
  if (amount <= 0 || seconds <= 0) return {};
  char text[64];
  std::snprintf(text, sizeof text, " %9.2f %s", amount / seconds / 1e9, unit);
  return text;
}

std::string n_threads(int n) {
  return std::to_string(n) + (n == 1 ? " thread" : " threads");
}

void print_ops(const Json& profile, const char* title) {
  if (profile.is_null()) return;
  const double seconds = profile["seconds"];
  const auto steps = profile["steps"].get<double>();
  if (steps == 0) return;
  std::printf("\n%s: %d tokens in %d steps, %.3f ms each\n", title, profile["tokens"].get<int>(),
              profile["steps"].get<int>(), seconds / steps * 1e3);
  std::printf("  %-15s %-8s %7s %10s %6s %10s\n", "op", "weights", "calls", "ms", "share", "MB");
  double listed = 0;
  for (const Json& op : profile["ops"]) {
    const double part = op["seconds"];
    listed += part;
    std::printf("  %-15s %-8s %7.0f %10.3f %5.1f%% %10.3f %s\n",
                op["op"].get<std::string>().c_str(), op["weights"].get<std::string>().c_str(),
                op["calls"].get<double>() / steps, part / steps * 1e3, 100 * part / seconds,
                op["bytes"].get<double>() / steps / 1e6,
                (rate(op["bytes"], part, "GB/s") + rate(op["operations"], part, "Gop/s")).c_str());
  }
  std::printf("  %-15s %-8s %7s %10.3f %5.1f%%\n", "between", "", "",
              (seconds - listed) / steps * 1e3, 100 * (seconds - listed) / seconds);
}

}  // namespace

void print_head(const BenchFlags& flags) {
  std::printf("%-8s %7s %6s | %10s %6s %7s | %10s %6s %7s | %8s %9s\n", "type", "threads", "depth",
              ("pp" + std::to_string(flags.n_prompt)).c_str(), "+-", "peak",
              ("tg" + std::to_string(flags.n_generate)).c_str(), "+-", "reads", "first", "memory");
  std::printf("%-8s %7s %6s | %10s %6s %7s | %10s %6s %7s | %8s %9s\n", "", "", "", "tokens/s", "%",
              "%", "tokens/s", "%", "%", "s", "MiB");
}

void print_case(const Json& row) {
  const Json prefill = field(row, "prefill"), decode = field(row, "decode");
  std::printf("%-8s %7d %6d | %10s %6s %7s | %10s %6s %7s | %8s %9s\n",
              row["type"].get<std::string>().c_str(), row["threads"].get<int>(),
              row["depth"].get<int>(), speed(prefill).c_str(),
              number(field(prefill, "spread"), 100, 1).c_str(),
              number(field(prefill, "fraction_of_peak"), 100, 1).c_str(), speed(decode).c_str(),
              number(field(decode, "spread"), 100, 1).c_str(),
              number(field(decode, "fraction_of_bandwidth"), 100, 1).c_str(),
              number(field(row, "first_token_seconds"), 1, 3).c_str(),
              number(field(row, "peak_resident_bytes"), 1.0 / 1048576, 1).c_str());
  std::fflush(stdout);
}

void print_ceilings(const Json& rows) {
  struct Values {
    std::vector<double> reads, int8, bf16, f32;
  };
  std::map<int, Values> by_threads;
  for (const Json& row : rows) {
    const Json& ceilings = row["ceilings"];
    if (ceilings.is_null()) continue;
    Values& values = by_threads[row["threads"].get<int>()];
    values.reads.push_back(ceilings["read_bytes_per_second"]);
    values.int8.push_back(ceilings["int8_ops_per_second"]);
    values.bf16.push_back(ceilings["bf16_ops_per_second"]);
    values.f32.push_back(ceilings["f32_ops_per_second"]);
  }
  const std::string backend = rows[0]["backend"];
  std::printf("\n%s\n", backend.substr(0, backend.rfind(", ")).c_str());  // without threads
  for (const auto& [threads, values] : by_threads) {
    const double bf16 = median(values.bf16);
    std::printf("ceilings, %s: reads %.2f GB/s, int8 %.1f, bf16 %s, f32 %.1f Gop/s\n",
                n_threads(threads).c_str(), median(values.reads) / 1e9, median(values.int8) / 1e9,
                bf16 > 0 ? number(bf16, 1e-9, 1).c_str() : "none", median(values.f32) / 1e9);
  }
}

void print_profile(const Json& row) {
  const Json profile = field(row, "profile");
  if (profile.is_null()) return;
  const std::string title = row["type"].get<std::string>() + ", " +
                            n_threads(row["threads"].get<int>()) + ", depth " +
                            std::to_string(row["depth"].get<int>());
  print_ops(field(profile, "prefill"), (title + ", prefill step").c_str());
  print_ops(field(profile, "decode"), (title + ", decode step").c_str());
}

}  // namespace runnel::app
