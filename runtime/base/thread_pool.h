// A fixed pool of threads for data-parallel kernels. run() hands the same function to every thread.
#pragma once
#include <functional>
#include <memory>

namespace runnel {

/// The calling thread works as thread 0. run() is not reentrant and is called by one thread at a
/// time. Idle workers spin for at most 2 ms, then sleep.
class ThreadPool {
 public:
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  int size() const;
  /// Runs work(thread_index) once on every thread and returns when all are done. Allocates nothing.
  using Work = void (*)(void* context, int thread_index);
  void run(Work work, void* context);
  /// Waits until every thread of the current run() has come here. Call only inside run().
  void barrier();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runnel
