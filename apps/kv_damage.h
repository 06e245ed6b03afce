// How much quantised KV caches change what a model says: KL divergence from a session with an f32
// cache, over the same tokens, without keeping any logits.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "apps/app.h"
#include "apps/text_chunks.h"

namespace runnel::app {

struct KvDamage {
  std::string kv;      // name of the cache
  double kl_mean = 0;  // KL(f32 || kv), nats a token
  double kl_p99 = 0;   // its 99th percentile
  double top1 = 0;     // share of tokens with the same likeliest successor
};

/// Runs chunks first.. of `chunks` through one session per cache, in step, and compares the second
/// half of each. `flags` name the model's settings but for the cache. on_step(done) is told 0..1
/// and fails to stop.
std::vector<KvDamage> measure_kv(runnel_engine* engine,
                                 const ModelFlags& flags,
                                 std::span<const std::string> names,
                                 TextChunks& chunks,
                                 std::size_t first,
                                 const std::function<void(double)>& on_step);

}  // namespace runnel::app
