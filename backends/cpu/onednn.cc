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
using Attributes = Owned<dnnl_primitive_attr, dnnl_primitive_attr_destroy>;
using PostOps = Owned<dnnl_post_ops, dnnl_post_ops_destroy>;
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
dnnl_status_t append_sum(dnnl_post_ops_t ops) {
  return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}
bool describe_product(Description& description,
                      const MatrixLayout& x,
                      const MatrixLayout& w,
                      const MatrixLayout& y,
                      const Attributes& attributes,
                      const Engine& engine) {
  return create(description, dnnl_matmul_primitive_desc_create, engine.get(), of(x), of(w), nullptr,
                of(y), attributes.get());
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
dnnl_status_t append_sum(dnnl_post_ops_t ops) {
  return dnnl_post_ops_append_sum(ops, 1.0f);
}
bool describe_product(Description& description,
                      const MatrixLayout& x,
                      const MatrixLayout& w,
                      const MatrixLayout& y,
                      const Attributes& attributes,
                      const Engine& engine) {
  dnnl_matmul_desc_t product;
  return dnnl_matmul_desc_init(&product, of(x), of(w), nullptr, of(y)) == dnnl_success &&
         create(description, dnnl_primitive_desc_create,
                static_cast<const_dnnl_op_desc_t>(&product), attributes.get(), engine.get(),
                nullptr);
}
#endif

/// Products of one shape. The library keeps the code that it makes for a shape, so making one anew
/// costs about as much as 0.1 % of the product.
class Bf16Product {
 public:
  explicit Bf16Product(const Bf16GemmTask& task) : task_(task) {}

  bool prepare() {
    const dnnl_dims_t x_dims = {task_.n_tokens, task_.k}, x_strides = {task_.x_stride, 1};
    const dnnl_dims_t w_dims = {task_.k, task_.n_rows}, w_strides = {1, task_.w_stride};
    const dnnl_dims_t y_dims = {task_.n_tokens, task_.n_rows}, y_strides = {task_.y_stride, 1};
    return create(engine_, dnnl_engine_create, dnnl_cpu, std::size_t{0}) &&
           create(stream_, dnnl_stream_create, engine_.get(), dnnl_stream_default_flags) &&
           describe(x_, x_dims, x_strides, dnnl_bf16) &&
           describe(w_, w_dims, w_strides, dnnl_bf16) && describe(y_, y_dims, y_strides, dnnl_f32);
  }

  /// y = dot(x, w), or y += dot(x, w).
  enum class Into : std::uint8_t { empty, sum };
  bool run(const std::uint16_t* x, Into into) const {
    Attributes attributes;
    PostOps ops;
    if (!create(attributes, dnnl_primitive_attr_create) || !create(ops, dnnl_post_ops_create))
      return false;
    if (into == Into::sum &&
        (append_sum(ops.get()) != dnnl_success ||
         dnnl_primitive_attr_set_post_ops(attributes.get(), ops.get()) != dnnl_success))
      return false;
    Description description;
    Primitive primitive;
    Memory x_memory, w_memory, y_memory;
    if (!describe_product(description, x_, w_, y_, attributes, engine_) ||
        !create(primitive, dnnl_primitive_create, description.get()) || !place(x_memory, x_, x) ||
        !place(w_memory, w_, task_.w) || !place(y_memory, y_, task_.y))
      return false;
    const dnnl_exec_arg_t operands[] = {{DNNL_ARG_SRC, x_memory.get()},
                                        {DNNL_ARG_WEIGHTS, w_memory.get()},
                                        {DNNL_ARG_DST, y_memory.get()}};
    return dnnl_primitive_execute(primitive.get(), stream_.get(), 3, operands) == dnnl_success &&
           dnnl_stream_wait(stream_.get()) == dnnl_success;
  }

 private:
  // The library reads operands through pointers that are not const.
  bool place(Memory& memory, const MatrixLayout& layout, const void* data) const {
    return create(memory, dnnl_memory_create, of(layout), engine_.get(), const_cast<void*>(data));
  }

  const Bf16GemmTask& task_;
  Engine engine_;
  Stream stream_;
  MatrixLayout x_{}, w_{}, y_{};
};

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
  Bf16Product product(task);
  return product.prepare() && product.run(task.low, Bf16Product::Into::empty) &&
         product.run(task.high, Bf16Product::Into::sum);
}

}  // namespace runnel::cpu
