#include "tests/conformance/case_data.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "quant/codecs.h"
#include "quant/half.h"
#include "quant/kv_codecs.h"
#include "tests/conformance/random.h"

namespace runnel::conformance {
namespace {

// What stands where no valid data is: a kernel that reads it is far off or crashes.
constexpr float kStale = 100.0f;
constexpr std::int32_t kStaleId = 0x7FFFFFFF;
Bytes raw(const void* data, std::size_t size) {
  Bytes bytes(size);
  std::memcpy(bytes.data(), data, size);
  return bytes;
}

Bytes encode(const std::vector<float>& values, const Shape& shape, DType dtype, Random& random) {
  const quant::Codec& codec = quant::codec(dtype);
  Bytes bytes(bytes_of(shape, dtype));
  if (codec.encode_row == nullptr) {  // any bytes are blocks; 0x7F and 0xFF would be NaN scales
    for (std::byte& b : bytes) b = static_cast<std::byte>(random.below(0x7F));
    return bytes;
  }
  const std::int64_t cols = shape.cols();
  const std::size_t row = quant::row_bytes(dtype, static_cast<std::size_t>(cols));
  for (std::int64_t r = 0; r < shape.rows(); ++r)
    codec.encode_row(values.data() + r * cols, nullptr,
                     bytes.data() + static_cast<std::size_t>(r) * row, cols);
  return bytes;
}

float number(const Operand& operand, std::size_t i, Random& random) {
  const float value = operand.scale * random.normal();
  switch (operand.fill) {
    case Fill::ties:
      return static_cast<float>(1 + random.below(3));
    case Fill::zeros:
      return 0.0f;
    case Fill::one_hot:
      return i % 64 == i / 64 % 64 ? value : 0.0f;
    case Fill::biased:
      return value + 3.0f;
    case Fill::nans:
      return i % 5 == 3 ? std::numeric_limits<float>::quiet_NaN() : value;
    case Fill::nans_first:
      return i % 5 == 0 ? std::numeric_limits<float>::quiet_NaN() : value;
    default:
      return value;
  }
}

std::vector<float> numbers(const Operand& operand, Random& random) {
  std::vector<float> values(static_cast<std::size_t>(operand.shape.elems()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = number(operand, i, random);
  if (operand.half)
    for (float& v : values) v = quant::f16_to_f32(quant::f32_to_f16(v));
  return values;
}

std::vector<std::int32_t> identifiers(const Operand& operand, Random& random) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(operand.shape.elems()));
  const std::int64_t cols = operand.shape.rank > 1 ? operand.shape.cols() : 1;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto row = static_cast<std::ptrdiff_t>(i) / cols * cols;
    do ids[i] = static_cast<std::int32_t>(random.below(operand.limit));
    while (operand.fill == Fill::distinct &&
           std::find(ids.begin() + row, ids.begin() + static_cast<std::ptrdiff_t>(i), ids[i]) !=
               ids.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return ids;
}

/// Content of an input; rows that the step does not use are stale.
Bytes input_bytes(const Operand& operand, const Case& one, Random& random) {
  const std::int64_t row_elems = operand.shape.elems() / operand.shape[0];
  const std::int64_t rows = operand.per_token
                                ? operand.shape[0] / one.max_tokens * one.params.n_tokens
                                : operand.shape[0];
  const std::ptrdiff_t used = rows * row_elems;
  if (operand.dtype == DType::i32) {
    std::vector<std::int32_t> ids = identifiers(operand, random);
    std::fill(ids.begin() + used, ids.end(), kStaleId);
    return raw(ids.data(), ids.size() * sizeof(std::int32_t));
  }
  std::vector<float> values = numbers(operand, random);
  std::fill(values.begin() + used, values.end(), kStale);
  return raw(values.data(), values.size() * sizeof(float));
}

/// Pages of K or V: valid up to what the op may read, stale beyond; one spare page.
std::vector<Bytes> page_bytes(const Operand& operand, const Case& one, Random& random) {
  const std::int64_t end = one.params.pos + one.params.n_tokens;
  const std::int64_t valid = one.op == Op::attention ? end : one.params.pos;
  const Shape& shape = operand.shape;
  std::vector<Bytes> pages;
  for (std::int64_t first = 0; first < end + kPageTokens; first += kPageTokens) {
    std::vector<float> values = numbers(operand, random);
    for (std::int64_t g = 0; g < shape[0]; ++g)
      for (std::int64_t slot = std::clamp<std::int64_t>(valid - first, 0, kPageTokens);
           slot < kPageTokens; ++slot)
        std::fill_n(values.begin() + (g * kPageTokens + slot) * shape[2], shape[2], kStale);
    pages.push_back(encode(values, shape, operand.dtype, random));
  }
  return pages;
}

/// Pages of tiles: sealed up to what the op may read, beyond it bytes whose scales are NaN.
std::vector<Bytes> tile_bytes(const Operand& operand, const Case& one, Random& random) {
  const std::int64_t end = one.params.kv_pos() + one.params.n_tokens;
  const AttentionAttr* attention = std::get_if<AttentionAttr>(&one.attr);
  const std::int64_t recent =
      attention ? attention->tiles.recent : std::get<KvWindowAttr>(one.attr).recent;
  const std::int64_t sealed = one.op == Op::kv_seal ? one.params.kv_sealed - one.params.kv_gap
                                                    : quant::kv_sealed_before(end - 1, recent);
  const std::int64_t first_sealed = attention ? attention->tiles.sinks : 0;
  const quant::KvRole role = operand.state == StateKind::kv_k ? quant::KvRole::k : quant::KvRole::v;
  Operand tile = operand;
  tile.shape = {quant::kKvTileTokens, quant::kKvChannels};
  std::vector<Bytes> pages;
  for (std::int64_t first = 0; first < end + kPageTokens; first += kPageTokens) {
    Bytes page(bytes_of(operand.shape, operand.dtype, operand.kv), std::byte{0x7F});
    const std::size_t block = quant::kv_block_bytes(operand.kv);
    for (std::size_t at = 0; at < page.size(); at += block)
      for (int t = 0; t < quant::kKvBlockTiles; ++t) {
        const std::int64_t position = first + t * quant::kKvTileTokens;
        if (position >= sealed || position < first_sealed) continue;
        quant::kv_codec(operand.kv)
            .encode_tile(role, numbers(tile, random).data(),
                         quant::kv_tile_codes(operand.kv, page.data() + at, t),
                         quant::kv_tile_scales(operand.kv, page.data() + at, t));
      }
    pages.push_back(std::move(page));
  }
  return pages;
}

/// Summaries of complete pages, beyond them stale: they need not belong to the keys.
std::vector<Bytes> summary_bytes(const Operand& operand, const Case& one, Random& random) {
  const AttentionAttr* attention = std::get_if<AttentionAttr>(&one.attr);
  const std::int64_t end = one.params.kv_pos() + one.params.n_tokens;
  const std::int64_t complete =
      attention ? quant::kv_sealed_before(end - 1, attention->tiles.recent) : 0;
  std::vector<Bytes> pages;
  for (std::int64_t first = 0; first < end; first += kPageTokens) {
    std::vector<float> values = numbers(operand, random);
    if (first == 0 || first + kPageTokens > complete) std::ranges::fill(values, kStale);
    pages.push_back(encode(values, operand.shape, operand.dtype, random));
  }
  return pages;
}

/// A window with the newest rows before the step's own; stale where there is no such position.
std::vector<Bytes> window_bytes(const Operand& operand, const Case& one, Random& random) {
  const AttentionAttr* attention = std::get_if<AttentionAttr>(&one.attr);
  const KvWindowAttr attr = attention ? attention->tiles : std::get<KvWindowAttr>(one.attr);
  const std::int64_t slots = operand.shape[1], dh = operand.shape[2];
  const std::int64_t gap = one.params.kv_gap;
  const std::int64_t end = std::max(one.params.pos, one.params.kv_keep) - gap;
  const std::vector<float> values = numbers(operand, random);
  std::vector<float> window(values.size(), kStale);
  for (std::int64_t position = 0; position < end; ++position) {
    if (position >= attr.sinks && position < end - (slots - quant::kKvSinkTokens)) continue;
    const std::int64_t slot = quant::kv_window_slot(position, slots, attr.sinks, gap);
    for (std::int64_t head = 0; head < operand.shape[0]; ++head)
      std::copy_n(values.begin() + (head * slots + slot) * dh, dh,
                  window.begin() + (head * slots + slot) * dh);
  }
  return {encode(window, operand.shape, operand.dtype, random)};
}

/// A ring whose slots hold the positions before the step; stale where there is no such position.
std::vector<Bytes> ring_bytes(const Operand& operand, const Case& one, Random& random) {
  std::vector<float> values = numbers(operand, random);
  for (std::int64_t slot = one.params.pos; slot < operand.shape[0]; ++slot)
    std::fill_n(values.begin() + slot * operand.shape[1], operand.shape[1], kStale);
  return {encode(values, operand.shape, operand.dtype, random)};
}

}  // namespace

CaseData make_data(const Case& one) {
  Random random(one.name);
  CaseData data;
  for (const Operand& operand : one.in) {
    if (operand.role == Role::input)
      data.parts.push_back({input_bytes(operand, one, random)});
    else if (operand.role == Role::weight)
      data.parts.push_back(
          {encode(numbers(operand, random), operand.shape, operand.dtype, random)});
    else if (operand.state == StateKind::conv)
      data.parts.push_back(ring_bytes(operand, one, random));
    else if (operand.state == StateKind::kv_window)
      data.parts.push_back(window_bytes(operand, one, random));
    else if (operand.state == StateKind::kv_summary)
      data.parts.push_back(summary_bytes(operand, one, random));
    else if (operand.kv != quant::KvFormat::plain)
      data.parts.push_back(tile_bytes(operand, one, random));
    else
      data.parts.push_back(page_bytes(operand, one, random));
  }
  return data;
}

}  // namespace runnel::conformance
