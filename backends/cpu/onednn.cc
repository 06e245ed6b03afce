#include "backends/cpu/onednn.h"

#include <dnnl.h>

#include <memory>

// From libgomp, the runtime that oneDNN uses on Linux. Declared here: its header comes with some
// compilers only.
extern "C" {
int omp_get_max_threads(void);
void omp_set_num_threads(int n_threads);
}

namespace runnel::cpu {
namespace {

/// One thread per call. The setting belongs to the calling thread, which may be the user's: it is
/// put back.
class OneThread {
 public:
  OneThread() : n_threads_(omp_get_max_threads()) {
    if (n_threads_ != 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (n_threads_ != 1) omp_set_num_threads(n_threads_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int n_threads_;
};

/// Owns what a library function made.
template <class Object, dnnl_status_t (*destroy)(Object*)>
struct Destroy {
  void operator()(Object* object) const { destroy(object); }
};
template <class Object, dnnl_status_t (*destroy)(Object*)>
using Owned = std::unique_ptr<Object, Destroy<Object, destroy>>;
using Engine = Owned<dnnl_engine, dnnl_engine_destroy>;
using Stream = Owned<dnnl_stream, dnnl_stream_destroy>;
using Memory = Owned<dnnl_memory, dnnl_memory_destroy>;
using Description = Owned<dnnl_primitive_desc, dnnl_primitive_desc_destroy>;
using Primitive = Owned<dnnl_primitive, dnnl_primitive_destroy>;

/// owner = what make(&pointer, args...) made; false when it refuses.
template <class Owner, class Make, class... Args>
bool create(Owner& owner, const Make& make, const Args&... args) {
  typename Owner::pointer made = nullptr;
  if (make(&made, args...) != dnnl_success) return false;
  owner.reset(made);
  return true;
}

#if DNNL_VERSION_MAJOR >= 3
using MatrixLayout = Owned<dnnl_memory_desc, dnnl_memory_desc_destroy>;
bool describe(MatrixLayout& layout,
              const dnnl_dims_t dims,
              const dnnl_dims_t strides,
              dnnl_data_type_t type) {
  return create(layout, dnnl_memory_desc_create_with_strides, 2, dims, type, strides);
}
const_dnnl_memory_desc_t of(const MatrixLayout& layout) {
  return layout.get();
}
bool describe_product(Description& description,
                      const MatrixLayout& x,
                      const MatrixLayout& w,
                      const MatrixLayout& y,
                      const Engine& engine) {
  return create(description, dnnl_matmul_primitive_desc_create, engine.get(), of(x), of(w), nullptr,
                of(y), nullptr);
}
#else
using MatrixLayout = dnnl_memory_desc_t;
bool describe(MatrixLayout& layout,
              const dnnl_dims_t dims,
              const dnnl_dims_t strides,
              dnnl_data_type_t type) {
  return dnnl_memory_desc_init_by_strides(&layout, 2, dims, type, strides) == dnnl_success;
}
const dnnl_memory_desc_t* of(const MatrixLayout& layout) {
  return &layout;
}
bool describe_product(Description& description,
                      const MatrixLayout& x,
                      const MatrixLayout& w,
                      const MatrixLayout& y,
                      const Engine& engine) {
  dnnl_matmul_desc_t product;
  return dnnl_matmul_desc_init(&product, of(x), of(w), nullptr, of(y)) == dnnl_success &&
         create(description, dnnl_primitive_desc_create,
                static_cast<const_dnnl_op_desc_t>(&product), nullptr, engine.get(), nullptr);
}
#endif

// The library keeps the code that it makes for a shape, so making a product anew costs about as
// much as 0.1 % of it.
bool multiply_bf16(const Bf16GemmTask& task) {
  const dnnl_dims_t x_dims = {task.n_tokens, task.k}, x_strides = {task.x_stride, 1};
  const dnnl_dims_t w_dims = {task.k, task.n_rows}, w_strides = {1, task.w_stride};
  const dnnl_dims_t y_dims = {task.n_tokens, task.n_rows}, y_strides = {task.y_stride, 1};
  Engine engine;
  Stream stream;
  MatrixLayout x{}, w{}, y{};
  Description description;
  Primitive primitive;
  if (!create(engine, dnnl_engine_create, dnnl_cpu, std::size_t{0}) ||
      !create(stream, dnnl_stream_create, engine.get(), dnnl_stream_default_flags) ||
      !describe(x, x_dims, x_strides, dnnl_bf16) || !describe(w, w_dims, w_strides, dnnl_bf16) ||
      !describe(y, y_dims, y_strides, dnnl_f32) ||
      !describe_product(description, x, w, y, engine) ||
      !create(primitive, dnnl_primitive_create, description.get()))
    return false;
  Memory x_memory, w_memory, y_memory;
  // The library reads operands through pointers that are not const.
  const auto place = [&engine](Memory& memory, const MatrixLayout& layout, const void* data) {
    return create(memory, dnnl_memory_create, of(layout), engine.get(), const_cast<void*>(data));
  };
  if (!place(x_memory, x, task.x) || !place(w_memory, w, task.w) || !place(y_memory, y, task.y))
    return false;
  const dnnl_exec_arg_t operands[] = {{DNNL_ARG_SRC, x_memory.get()},
                                      {DNNL_ARG_WEIGHTS, w_memory.get()},
                                      {DNNL_ARG_DST, y_memory.get()}};
  return dnnl_primitive_execute(primitive.get(), stream.get(), 3, operands) == dnnl_success &&
         dnnl_stream_wait(stream.get()) == dnnl_success;
}

}  // namespace

bool has_onednn() {
  return true;
}

bool has_onednn_bf16() {
  // The levels are sets of bits in all versions; those with AMX contain this one.
  return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_bf16) ==
         dnnl_cpu_isa_avx512_core_bf16;
}

bool multiply_onednn(const GemmTask& task) {
  const OneThread one_thread;
  return dnnl_sgemm('N', 'T', task.n_tokens, task.n_rows, task.k, 1.0f, task.x, task.x_stride,
                    task.w, task.w_stride, 0.0f, task.y, task.y_stride) == dnnl_success;
}

bool multiply_onednn_bf16(const Bf16GemmTask& task) {
  const OneThread one_thread;
  return multiply_bf16(task);
}

}  // namespace runnel::cpu
