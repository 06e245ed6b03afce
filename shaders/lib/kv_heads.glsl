// Streaming heads have no tiles: KvWindowAttr of runtime/graph/ops.h. Needs p.streaming0, p.streaming1.
bool streams(uint head) {
  return head < 64u && ((head < 32u ? p.streaming0 >> head : p.streaming1 >> (head - 32u)) & 1u) != 0u;
}
/// Where the tiles of a head that does not stream are in a page.
uint page_head(uint head) {
  const uint low = head < 32u ? p.streaming0 & ((1u << head) - 1u) : p.streaming0;
  const uint high = head < 32u ? 0u : head < 64u ? p.streaming1 & ((1u << (head - 32u)) - 1u) : p.streaming1;
  return head - uint(bitCount(low) + bitCount(high));
}
/// The head whose tiles are there.
uint head_at(uint place) {
  uint head = place;
  while (streams(head) || page_head(head) != place) ++head;
  return head;
}
