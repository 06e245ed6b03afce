// Sums and maxima over a workgroup of a power of two of threads, in one fixed order. Needs shared
// float reduce_parts[gl_WorkGroupSize.x]; all threads get the result.
shared float reduce_parts[gl_WorkGroupSize.x];

float workgroup_sum(float value) {
  const uint i = gl_LocalInvocationID.x;
  reduce_parts[i] = value;
  barrier();
  for (uint width = gl_WorkGroupSize.x / 2u; width > 0u; width /= 2u) {
    if (i < width) reduce_parts[i] += reduce_parts[i + width];
    barrier();
  }
  const float sum = reduce_parts[0];
  barrier();
  return sum;
}

float workgroup_max(float value) {
  const uint i = gl_LocalInvocationID.x;
  reduce_parts[i] = value;
  barrier();
  for (uint width = gl_WorkGroupSize.x / 2u; width > 0u; width /= 2u) {
    if (i < width) reduce_parts[i] = max(reduce_parts[i], reduce_parts[i + width]);
    barrier();
  }
  const float largest = reduce_parts[0];
  barrier();
  return largest;
}
