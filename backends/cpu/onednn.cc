#include "backends/cpu/onednn.h"

#include <dnnl.h>

// From libgomp, the runtime that oneDNN uses on Linux. Declared here: its header comes with some
// compilers only.
extern "C" {
int omp_get_max_threads(void);
void omp_set_num_threads(int n_threads);
}

namespace runnel::cpu {

bool has_onednn() {
  return true;
}

bool multiply_onednn(const GemmTask& task) {
  // The setting belongs to the calling thread, which may be the user's: it is put back.
  const int n_threads = omp_get_max_threads();
  if (n_threads != 1) omp_set_num_threads(1);
  const dnnl_status_t status =
      dnnl_sgemm('N', 'T', task.n_tokens, task.n_rows, task.k, 1.0f, task.x, task.x_stride, task.w,
                 task.w_stride, 0.0f, task.y, task.y_stride);
  if (n_threads != 1) omp_set_num_threads(n_threads);
  return status == dnnl_success;
}

}  // namespace runnel::cpu
