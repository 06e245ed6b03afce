#include "runtime/base/cores.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

namespace runnel {
namespace {

constexpr int kMaxCores = 1024;

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
#endif
  return cpus;
}

int read_int(const std::string& path, int fallback) {
  std::ifstream file(path);
  int value = fallback;
  if (!(file >> value)) return fallback;
  return value;
}

/// CPUs of a list such as "0-3,8"; empty when there is no such file.
/// SOURCE: Linux cputopology.rst, cpulist format.
std::set<int> read_cpu_list(const std::string& path) {
  std::ifstream file(path);
  std::set<int> cpus;
  for (std::string part; std::getline(file, part, ',');) {
    std::istringstream range(part);
    int first = 0, last = 0;
    char dash = 0;
    if (!(range >> first)) continue;
    if (!(range >> dash >> last)) last = first;
    for (int cpu = first; cpu <= std::min(last, first + kMaxCores); ++cpu) cpus.insert(cpu);
  }
  return cpus;
}

/// Drops the CPUs whose file says less than `share` of the most. False when one has no such file.
bool keep_strongest(std::vector<int>& cpus,
                    const std::string& devices,
                    const char* file,
                    double share) {
  std::vector<int> values;
  for (const int cpu : cpus)
    values.push_back(read_int(devices + "/system/cpu/cpu" + std::to_string(cpu) + file, 0));
  if (values.empty() || std::ranges::min(values) <= 0) return false;
  const double least = share * std::ranges::max(values);
  std::vector<int> kept;
  for (std::size_t i = 0; i < cpus.size(); ++i)
    if (values[i] >= least) kept.push_back(cpus[i]);
  cpus = std::move(kept);
  return true;
}

// CPUs' worth of time per period, or 0 without a limit. SOURCE: Linux cgroup-v2.rst, "cpu.max".
int quota_of(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  std::string quota;
  long long period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
  const long long microseconds = std::strtoll(quota.c_str(), nullptr, 10);
  if (microseconds <= 0) return 0;
  return static_cast<int>(std::clamp<long long>(microseconds / period, 1, kMaxCores));
}

// The smallest limit of this process's cgroup and its parents, or 0 without a limit.
int cgroup_cpus() {
  int limit = 0;
  const auto tighten = [&limit](int cpus) {
    if (cpus > 0 && (limit == 0 || cpus < limit)) limit = cpus;
  };
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("0::", 0) != 0) continue;
    for (std::string path = line.substr(3); !path.empty();) {
      tighten(quota_of("/sys/fs/cgroup" + (path == "/" ? "" : path)));
      const std::size_t slash = path.rfind('/');
      path = slash == std::string::npos ? "" : path.substr(0, slash);
    }
  }
  tighten(quota_of("/sys/fs/cgroup"));
  const int quota = read_int("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", -1);  // cgroup v1
  const int period = read_int("/sys/fs/cgroup/cpu/cpu.cfs_period_us", 0);
  if (quota > 0 && period > 0) tighten(std::max(1, quota / period));
  return limit;
}

int within_limit(int n) {
  if (const int limit = cgroup_cpus(); limit > 0) n = std::min(n, limit);
  return std::clamp(n, 1, kMaxCores);
}

}  // namespace

int count_performance_cores(const std::string& devices, std::span<const int> cpus) {
  std::vector<int> strong;
  const std::set<int> big = read_cpu_list(devices + "/cpu_core/cpus");  // Intel hybrids have this
  std::ranges::copy_if(cpus, std::back_inserter(strong),
                       [&big](int cpu) { return big.contains(cpu); });
  if (strong.empty()) {
    strong.assign(cpus.begin(), cpus.end());
    // Arm: 1024 is the strongest core, little ones have 250 to 450, middle ones 600 and more.
    // Else the clock: compact cores reach 65 to 72 % of it, favoured ones are 10 % above their
    // neighbours.
    if (!keep_strongest(strong, devices, "/cpu_capacity", 0.5))
      keep_strongest(strong, devices, "/cpufreq/cpuinfo_max_freq", 0.75);
  }
  std::set<std::pair<int, int>> cores;  // (package, core)
  for (const int cpu : strong) {
    const std::string folder = devices + "/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    cores.insert({read_int(folder + "physical_package_id", 0), read_int(folder + "core_id", cpu)});
  }
  return std::max(1, static_cast<int>(cores.size()));
}

int performance_cores() {
  return within_limit(count_performance_cores("/sys/devices", allowed_cpus()));
}

int logical_cpus() {
  return within_limit(static_cast<int>(allowed_cpus().size()));
}

}  // namespace runnel
