#include "backends/cpu/steps/panels.h"

#include "backends/cpu/steps/product.h"
#include "runtime/base/checked.h"

namespace runnel::cpu {
namespace {

constexpr std::int64_t kPanelCache = 384 << 10;  // bytes of panels of one task
constexpr std::int64_t kMostPanels = 4;
constexpr std::size_t kBlockBytes = sizeof(float) * kPanelRows * kPanelTokens;

std::int64_t panel_stride(std::int64_t k) {
  return static_cast<std::int64_t>(align_up(static_cast<std::size_t>(panel_bytes(k)), 64));
}

/// Panels of `n_rows` rows of w from row `first` on.
void pack_panels(const Step& step,
                 const Operand& w,
                 std::int64_t first,
                 std::int64_t n_rows,
                 std::byte* panels) {
  const auto pack = step.kernels->pack_panel[static_cast<std::size_t>(step.format)];
  for (std::int64_t done = 0; done < n_rows; done += kPanelRows, panels += panel_stride(w.cols()))
    pack(reinterpret_cast<const std::uint8_t*>(w.data + (first + done) * w.row_bytes()),
         w.row_bytes(), std::min(kPanelRows, n_rows - done), w.cols(), panels);
}

/// A task with tile `tile` of x; y and the panel are left open.
PanelTask tile_task(
    const std::byte* tiles, std::int64_t tile, std::int64_t n_tokens, Fast format, std::int64_t k) {
  PanelTask task{};
  task.x = tiles + tile * tile_bytes(group_of(format), k);
  task.k = k;
  task.n_tokens = std::min(kPanelTokens, n_tokens - tile * kPanelTokens);
  return task;
}

std::int64_t n_tiles(std::int64_t n_tokens) {
  return (n_tokens + kPanelTokens - 1) / kPanelTokens;
}

}  // namespace

std::int64_t panels_per_task(std::int64_t k) {
  return std::clamp<std::int64_t>(kPanelCache / panel_stride(k) / 2 * 2, 2, kMostPanels);
}

std::size_t tiles_bytes(Fast format, std::int64_t k, std::int64_t max_rows) {
  return static_cast<std::size_t>(n_tiles(max_rows) * tile_bytes(group_of(format), k));
}

std::size_t panel_scratch_bytes(std::int64_t k) {
  const auto rows = static_cast<std::size_t>(kPanelTokens * row_chunks(k)) * sizeof(Chunk);
  const auto panels = static_cast<std::size_t>(panels_per_task(k) * panel_stride(k));
  return std::max(rows, panels + kBlockBytes);
}

void pack_tiles(const Step& step, const StepContext& context, std::int64_t n_rows, std::byte* dst) {
  const Operand& x = step.in[0];
  const std::int64_t k = x.cols(), chunks = row_chunks(k);
  const int group = group_of(step.format);
  auto* rows = reinterpret_cast<Chunk*>(context.own);
  const Range tiles = context.share(n_tiles(n_rows));
  for (std::int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const std::int64_t first = tile * kPanelTokens, n = std::min(kPanelTokens, n_rows - first);
    for (std::int64_t r = 0; r < n; ++r)
      step.kernels->quantize(x.row(first + r), k, rows + r * chunks);
    step.kernels->pack_tile(rows, chunks, n, group, k, dst + tile * tile_bytes(group, k));
  }
}

void multiply_panels(const Step& step,
                     const Operand& w,
                     std::int64_t first,
                     std::int64_t n_rows,
                     const std::byte* tiles,
                     std::int64_t n_tokens,
                     float* y,
                     std::int64_t y_stride,
                     std::byte* scratch) {
  const auto multiply = step.kernels->panel[static_cast<std::size_t>(step.format)];
  const std::int64_t k = w.cols();
  pack_panels(step, w, first, n_rows, scratch);
  for (std::int64_t tile = 0; tile < n_tiles(n_tokens); ++tile) {
    PanelTask task = tile_task(tiles, tile, n_tokens, step.format, k);
    task.y_stride = y_stride;
    for (std::int64_t done = 0; done < n_rows; done += kPanelRows) {
      task.panel = scratch + done / kPanelRows * panel_stride(k);
      task.n_rows = std::min(kPanelRows, n_rows - done);
      task.y = y + tile * kPanelTokens * y_stride + done;
      multiply(task);
    }
  }
}

void multiply_swiglu_panels(const Step& step,
                            std::int64_t first,
                            std::int64_t n_rows,
                            const std::byte* tiles,
                            std::int64_t n_tokens,
                            float* y,
                            std::int64_t y_stride,
                            std::byte* scratch) {
  const auto multiply = step.kernels->panel[static_cast<std::size_t>(step.format)];
  const std::int64_t k = step.in[1].cols(), stride = panel_stride(k);
  auto* up = reinterpret_cast<float*>(scratch);  // [kPanelTokens][kPanelRows]
  std::byte* gates = scratch + kBlockBytes;
  std::byte* ups = gates + (n_rows + kPanelRows - 1) / kPanelRows * stride;
  pack_panels(step, step.in[1], first, n_rows, gates);
  pack_panels(step, step.in[2], first, n_rows, ups);
  for (std::int64_t tile = 0; tile < n_tiles(n_tokens); ++tile) {
    PanelTask task = tile_task(tiles, tile, n_tokens, step.format, k);
    for (std::int64_t done = 0; done < n_rows; done += kPanelRows) {
      float* gate = y + tile * kPanelTokens * y_stride + done;
      task.n_rows = std::min(kPanelRows, n_rows - done);
      task.panel = gates + done / kPanelRows * stride;
      task.y = gate;
      task.y_stride = y_stride;
      multiply(task);
      task.panel = ups + done / kPanelRows * stride;
      task.y = up;
      task.y_stride = kPanelRows;
      multiply(task);
      for (std::int64_t t = 0; t < task.n_tokens; ++t)
        step.kernels->swiglu(gate + t * y_stride, gate + t * y_stride, up + t * kPanelRows,
                             task.n_rows);
    }
  }
}

}  // namespace runnel::cpu
