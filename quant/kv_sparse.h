// Sparse attention over a long tiled cache: a token reads the first page, the newest pages, and of
// the pages between those that can hold the keys it attends to most, by a summary of each page.
// Which these are depends on the token's position and on what is cached, never on how a sequence is
// cut into steps. Summaries are read anew for every token: they are 2 % of the bytes of the pages.
// SOURCE: pages by an upper bound of their scores as in Quest (arXiv:2406.10774), with a ball
// around the mean instead of a box, because the Hadamard transform turns boxes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/kv_format.h"

namespace runnel::quant {

/// f16 values of the summary of one head's keys in a page: [mean of head_dim channels][radius]
/// [zeros to a multiple of 64 bytes].
constexpr std::int64_t kv_summary_values(std::int64_t head_dim) {
  return head_dim + 32;
}

/// Pages are ranked by q.mean + share * |q| * radius. 1 would be a true bound; 0 misses the page of
/// a single fact. Demo model, contexts of 4000 to 8192 tokens, kv4, 8 pages: share 0, 0.1, 0.25,
/// 0.5 finds 11, 14, 19, 19 of 20 needles; KL divergence with share 0, 0.25, 0.5, 1: 0.0061,
/// 0.0063, 0.0071, 0.0107.
inline constexpr float kKvRadiusShare = 0.25f;

/// Pages that a query head may choose, at most.
inline constexpr int kKvMostPages = 1024;

/// Tokens older than those in f16 that are always read.
inline constexpr std::int64_t kKvLocalTokens = 256;

/// First of the newest pages, which a token at `place` always reads; the pages before are complete.
constexpr std::int64_t kv_local_page(std::int64_t place, std::int64_t recent) {
  const std::int64_t first = kv_sealed_before(place, recent) - kKvLocalTokens;
  return first <= 0 ? 0 : first / kKvBlockTokens;
}

/// summary: kv_summary_values(head_dim) f16 of the 64 keys of one head, from its blocks in a page
/// (one for each 64 channels). REQUIRES: all four tiles are sealed.
void kv_summarise(KvFormat format,
                  const std::byte* blocks,
                  std::int64_t head_dim,
                  std::byte* summary);

/// The pages with the largest bounds of those offered in ascending order; among equals the earlier.
/// In the caller's memory, `most` elements each.
struct BestPages {
  float* bound;  // descending
  std::int32_t* page;
  std::int32_t most;
  std::int32_t n = 0;

  void offer(float value, std::int32_t number) {
    if (n == most && !(value > bound[n - 1])) return;
    std::int32_t at = n < most ? n++ : most - 1;
    for (; at > 0 && value > bound[at - 1]; --at) {
      bound[at] = bound[at - 1];
      page[at] = page[at - 1];
    }
    bound[at] = value;
    page[at] = number;
  }
};

/// Sorts pages and drops what is there twice; returns how many are left.
std::int32_t unite_pages(std::span<std::int32_t> pages);

}  // namespace runnel::quant
