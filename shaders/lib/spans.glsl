// How the keys of a token are cut into spans: attention_span() of backends/vulkan/kernel.h.
const uint kMaxSpans = 32u;
uint span_length(int place) {
  uint length = 64u;
  while ((uint(place) + length) / length > kMaxSpans) length *= 2u;
  return length;
}
/// First key and end of span number `part`.
uvec2 span_of(int place, uint part) {
  const uint length = span_length(place);
  return uvec2(part * length, (part + 1u) * length);
}
uint n_spans(int place) {
  const uint length = span_length(place);
  return (uint(place) + length) / length;
}
