#include "backends/cpu/steps/panels.h"

#include "runtime/base/checked.h"

namespace runnel::cpu {
namespace {

constexpr std::int64_t kPanelCache = 384 << 10;  // bytes of panels of one task
constexpr std::int64_t kMostPanels = 4;
constexpr std::int64_t kRoundTiles = 24;  // tiles of a piece that meet a panel
constexpr std::size_t kBlockFloats = kPanelRows * kPanelTokens;

std::int64_t panel_stride(Fast format, std::int64_t k) {
  return static_cast<std::int64_t>(align_up(static_cast<std::size_t>(panel_bytes(format, k)), 64));
}

/// Panels of `n_rows` rows of w from row `first` on.
void pack_panels(const Step& step,
                 const Operand& w,
                 std::int64_t first,
                 std::int64_t n_rows,
                 std::byte* panels) {
  const auto pack = step.kernels->pack_panel[static_cast<std::size_t>(step.format)];
  const std::int64_t stride = panel_stride(step.format, w.cols());
  for (std::int64_t done = 0; done < n_rows; done += kPanelRows, panels += stride)
    pack(reinterpret_cast<const std::uint8_t*>(w.data + (first + done) * w.row_bytes()),
         w.row_bytes(), std::min(kPanelRows, n_rows - done), w.cols(), panels);
}

std::int64_t n_tiles(std::int64_t n_tokens) {
  return (n_tokens + kPanelTokens - 1) / kPanelTokens;
}

std::int64_t n_pieces(int group, std::int64_t k) {
  return (k + piece_values(group) - 1) / piece_values(group);
}

/// Multiplies one panel with the tiles [begin, end): y[t - t of begin][n] for its n_rows rows.
void multiply_round(const Step& step,
                    const PanelProduct& product,
                    const std::byte* panel,
                    std::int64_t n_rows,
                    Range tiles,
                    float* y,
                    std::int64_t y_stride,
                    float* sums) {
  const auto multiply = step.kernels->panel[static_cast<std::size_t>(step.format)];
  const int group = group_of(step.format);
  PanelTask task{};
  task.panel = panel;
  task.k = step.in[0].cols();
  task.n_rows = n_rows;
  task.y_stride = y_stride;
  const std::int64_t n_groups = (task.k + group - 1) / group, piece = piece_values(group) / group;
  const std::int64_t piece_bytes = n_tiles(product.n_tokens) * tile_bytes(group);
  const std::byte* tiles_of_piece = product.tiles;
  for (; task.first < n_groups; task.first = task.last, tiles_of_piece += piece_bytes) {
    task.last = std::min(n_groups, task.first + piece);
    for (std::int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
      task.x = tiles_of_piece + tile * tile_bytes(group);
      task.n_tokens = std::min(kPanelTokens, product.n_tokens - tile * kPanelTokens);
      task.y = y + (tile - tiles.begin) * kPanelTokens * y_stride;
      task.sums = sums + (tile - tiles.begin) * kPanelSums;
      multiply(task);
    }
  }
}

}  // namespace

std::int64_t panels_per_task(Fast format, std::int64_t k) {
  return std::clamp<std::int64_t>(kPanelCache / panel_stride(format, k) / 2 * 2, 2, kMostPanels);
}

std::size_t tiles_bytes(Fast format, std::int64_t k, std::int64_t max_rows) {
  const int group = group_of(format);
  return static_cast<std::size_t>(n_pieces(group, k) * n_tiles(max_rows) * tile_bytes(group));
}

std::size_t panel_scratch_bytes(Fast format, std::int64_t k) {
  const auto rows = static_cast<std::size_t>(kPanelTokens * prepared_row_bytes(format, k));
  const auto panels =
      static_cast<std::size_t>(panels_per_task(format, k) * panel_stride(format, k));
  return std::max(rows, panels + kRoundTiles * (kPanelSums + 2 * kBlockFloats) * sizeof(float));
}

void pack_tiles(const Step& step, const StepContext& context, std::int64_t n_rows, std::byte* dst) {
  const Operand& x = step.in[0];
  const std::int64_t k = x.cols(), row_bytes = prepared_row_bytes(step.format, k);
  const int group = group_of(step.format);
  const std::int64_t piece_bytes = n_tiles(n_rows) * tile_bytes(group);
  const Range tiles = context.share(n_tiles(n_rows));
  for (std::int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const std::int64_t first = tile * kPanelTokens, n = std::min(kPanelTokens, n_rows - first);
    for (std::int64_t r = 0; r < n; ++r)
      round_row(step, x.row(first + r), k, context.own + r * row_bytes);
    auto* to = reinterpret_cast<std::uint8_t*>(dst) + tile * tile_bytes(group);
    if (step.format == Fast::bf16_dots)
      step.kernels->pack_bf16_tile(reinterpret_cast<const std::uint16_t*>(context.own), n, k, to,
                                   piece_bytes);
    else
      step.kernels->pack_tile(reinterpret_cast<const Chunk*>(context.own), row_chunks(k), n, group,
                              k, to, piece_bytes);
  }
}

void multiply_panels(const Step& step, const Operand& w, const PanelProduct& product) {
  const std::int64_t stride = panel_stride(step.format, w.cols());
  const std::int64_t tiles = n_tiles(product.n_tokens);
  auto* sums = reinterpret_cast<float*>(product.scratch);
  std::byte* panels = product.scratch + kRoundTiles * kPanelSums * sizeof(float);
  pack_panels(step, w, product.first, product.n_rows, panels);
  for (std::int64_t tile = 0; tile < tiles; tile += kRoundTiles) {
    float* y = product.y + tile * kPanelTokens * product.y_stride;
    const Range round{tile, std::min(tiles, tile + kRoundTiles)};
    for (std::int64_t row = 0; row < product.n_rows; row += kPanelRows)
      multiply_round(step, product, panels + row / kPanelRows * stride,
                     std::min(kPanelRows, product.n_rows - row), round, y + row, product.y_stride,
                     sums);
  }
}

void multiply_swiglu_panels(const Step& step, const PanelProduct& product) {
  const std::int64_t stride = panel_stride(step.format, step.in[1].cols());
  const std::int64_t tiles = n_tiles(product.n_tokens);
  auto* sums = reinterpret_cast<float*>(product.scratch);
  // Both meet in scratch: rows of y are far apart, and would fall on few sets of the caches.
  float* gate = sums + kRoundTiles * kPanelSums;  // [tokens of a round][rows of a panel]
  float* up = gate + kRoundTiles * kBlockFloats;
  auto* gates = reinterpret_cast<std::byte*>(up + kRoundTiles * kBlockFloats);
  std::byte* ups = gates + (product.n_rows + kPanelRows - 1) / kPanelRows * stride;
  pack_panels(step, step.in[1], product.first, product.n_rows, gates);
  pack_panels(step, step.in[2], product.first, product.n_rows, ups);
  for (std::int64_t tile = 0; tile < tiles; tile += kRoundTiles) {
    const Range round{tile, std::min(tiles, tile + kRoundTiles)};
    const std::int64_t first = tile * kPanelTokens;
    const std::int64_t n_tokens = std::min(product.n_tokens, round.end * kPanelTokens) - first;
    for (std::int64_t row = 0; row < product.n_rows; row += kPanelRows) {
      const std::int64_t n_rows = std::min(kPanelRows, product.n_rows - row);
      const std::int64_t at = row / kPanelRows * stride;
      float* y = product.y + first * product.y_stride + row;
      multiply_round(step, product, gates + at, n_rows, round, gate, n_rows, sums);
      multiply_round(step, product, ups + at, n_rows, round, up, n_rows, sums);
      step.kernels->swiglu(gate, gate, up, n_tokens * n_rows);
      for (std::int64_t t = 0; t < n_tokens; ++t)
        std::copy_n(gate + t * n_rows, n_rows, y + t * product.y_stride);
    }
  }
}

}  // namespace runnel::cpu
