// How many threads are worth having on this machine. Pure but for reading system files.
#pragma once
#include <span>
#include <string>

namespace runnel {

/// Physical performance cores this process may use, at least 1: the default number of threads. The
/// limit of its control group counts; hardware threads that share a core do not, nor do the small
/// cores of a hybrid CPU, which the others would wait for.
int performance_cores();

/// Hardware threads that may run at the same time, at least 1.
int logical_cpus();

/// Performance cores among `cpus`, as the files below `devices` describe them ("/sys/devices" on
/// Linux). At least 1.
int count_performance_cores(const std::string& devices, std::span<const int> cpus);

}  // namespace runnel
