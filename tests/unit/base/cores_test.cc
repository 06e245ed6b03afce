#include "runtime/base/cores.h"

#include <doctest/doctest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace fs = std::filesystem;
using runnel::count_performance_cores;

namespace {

/// A folder that looks like /sys/devices.
class Devices {
 public:
  Devices() {
    root_ = fs::temp_directory_path() / ("runnel_cores_" + std::to_string(getpid()));
    fs::remove_all(root_);
  }
  ~Devices() { fs::remove_all(root_); }
  Devices(const Devices&) = delete;
  Devices& operator=(const Devices&) = delete;

  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text << "\n";
  }
  void cpu(int cpu, const std::string& file, int value) const {
    write("system/cpu/cpu" + std::to_string(cpu) + "/" + file, std::to_string(value));
  }
  /// Cores of the first n CPUs, or of those given.
  int count(int n) const {
    std::vector<int> cpus(static_cast<std::size_t>(n));
    std::iota(cpus.begin(), cpus.end(), 0);
    return count_of(cpus);
  }
  int count_of(const std::vector<int>& cpus) const {
    return count_performance_cores(root_.string(), cpus);
  }

 private:
  fs::path root_;
};

}  // namespace

TEST_CASE("Cores: each CPU is a core where the system says nothing") {
  const Devices devices;
  CHECK(devices.count(4) == 4);
  CHECK(devices.count(0) == 1);
}

TEST_CASE("Cores: hardware threads of one core count once") {
  const Devices devices;
  for (int cpu = 0; cpu < 8; ++cpu) {
    devices.cpu(cpu, "topology/physical_package_id", cpu % 2);
    devices.cpu(cpu, "topology/core_id", cpu / 4);  // the same numbers in both packages
  }
  CHECK(devices.count(8) == 4);
  CHECK(devices.count_of({0, 4}) == 2);
  CHECK(devices.count_of({0, 2}) == 1);
}

TEST_CASE("Cores: small cores of an Intel hybrid are left out") {
  const Devices devices;
  devices.write("cpu_core/cpus", "0-3,6");
  devices.write("cpu_atom/cpus", "4-5,7-11");
  for (int cpu = 0; cpu < 12; ++cpu) devices.cpu(cpu, "topology/core_id", cpu < 4 ? cpu / 2 : cpu);
  CHECK(devices.count(12) == 3);
  CHECK(devices.count_of({4, 5}) == 2);  // nothing else is allowed
}

TEST_CASE("Cores: little cores of an Arm CPU are left out, middle ones are not") {
  const Devices devices;
  const int capacity[] = {325, 325, 325, 325, 780, 780, 780, 1024};
  for (int cpu = 0; cpu < 8; ++cpu) {
    devices.cpu(cpu, "cpu_capacity", capacity[cpu]);
    devices.cpu(cpu, "cpufreq/cpuinfo_max_freq", capacity[cpu] == 1024 ? 3300000 : 2000000);
  }
  CHECK(devices.count(8) == 4);
  CHECK(devices.count(4) == 4);
}

TEST_CASE("Cores: else the clock tells, and favoured cores are no class of their own") {
  const Devices devices;
  const int khz[] = {5100000, 5000000, 4700000, 4700000, 3300000, 3300000};
  for (int cpu = 0; cpu < 6; ++cpu) devices.cpu(cpu, "cpufreq/cpuinfo_max_freq", khz[cpu]);
  CHECK(devices.count(6) == 4);
}

TEST_CASE("Cores: this machine has at least one, and no more than hardware threads") {
  CHECK(runnel::performance_cores() >= 1);
  CHECK(runnel::performance_cores() <= runnel::logical_cpus());
  CHECK(runnel::logical_cpus() <= static_cast<int>(std::thread::hardware_concurrency()));
}
