// The 16-byte header of a superblock of q4_k and q5_k: d and dmin (f16), eight 6-bit pairs in 12
// bytes (SOURCE: quant/scales6.h). Scale and minimum of part j, as numbers.
vec2 scales6(uvec4 header, uint j) {
  const uint shift = 8u * (j & 3u);
  const uint a = header.y >> shift, b = header.z >> shift, c = header.w >> shift;
  const uvec2 pair = j < 4u ? uvec2(a & 63u, b & 63u)
                            : uvec2((c & 15u) | (a >> 6 & 3u) << 4, (c >> 4 & 15u) | (b >> 6 & 3u) << 4);
  return unpackHalf2x16(header.x) * vec2(pair);
}
