// Which tokens of a tiled cache a token sees as tiles, and which pages one of sparse attention always
// reads. Needs p.recent. SOURCE: quant/kv_format.h, quant/kv_sparse.h.
const int kLocalTokens = 256;

/// First place that a token sees in f16 besides the sinks.
int sealed_before(int place) {
  const int old = place + 1 - int(p.recent);
  return old <= 0 ? 0 : old / 16 * 16;
}
/// First of the newest pages; the pages before are complete.
uint local_page(int place) { return uint(max(sealed_before(place) - kLocalTokens, 0)) / kPageTokens; }
/// Whether a query head chooses `most` of the pages 1 .. local_page() - 1: of fewer it reads all.
bool chooses(int place, uint from, uint most) {
  return most > 0u && uint(place) + 1u >= from && local_page(place) > most + 1u;
}
