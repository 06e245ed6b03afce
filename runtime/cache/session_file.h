// Session files: all that a sequence remembers, in one file that any backend can restore. Little
// endian, no padding; written under a temporary name and renamed (AtomicFile). Files are untrusted:
// every field is checked before it is used, and every section has a checksum.
//
//   header     kMagic; u32 version, n_states; u64 file bytes, model fingerprint, n_tokens,
//              n_columns, n_logits (0 or the vocabulary), note bytes, n_slots, n_rows; then what
//              shift.h needs to know where the tokens lie, 0 when none was dropped: slots of the
//              cache, tokens kept, positions of the model; then n_slots, n_columns and n_rows of
//              Cache::kAnchors anchors, oldest first, 0 where there is none
//   states     for each: u32 kind (kinds below), rank; char format[16], zero-filled; u64 dim[4],
//              section bytes
//   checksum   u64, of all above
//   sections   tokens i32, logits f32, note, then the units of each state in order (Cache), then
//              those of each anchor; after each section its checksum u64, seeded with the header's
//              + 1 + its index
//
// Kinds: 1 keys, 2 values (pages [G, 64, dh] of rows or tiles; what is past the last token or not
// in tiles yet is zero), 3 conv columns (the newest n_columns, oldest first), 4 windows of rows
// beside tiles (quant::kv_window_slot; the first tokens and the newest n_rows, the rest zero).
// Formats: a number type; of tiles quant::KvFormat; of windows "f16/SINKS/RECENT", and "/h" when
// keys and values are transformed (quant/hadamard.h).
// n_slots is n_tokens less those dropped, or 0 when all is to be computed again.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/atomic_file.h"
#include "runtime/cache/cache.h"

namespace runnel {

/// What goes into a file besides the cache.
struct SessionExtras {
  std::uint64_t fingerprint = 0;  // of the model
  std::vector<float> logits;      // of the last token, or empty
  std::string note;               // the caller's, any bytes
};

/// All of a file but its commit(), which needs the cache no more and may take long.
/// ERRORS: not_found, io, device_lost.
Result<AtomicFile> write_session(const std::string& path,
                                 const Cache& cache,
                                 const SessionExtras& extras);

/// Replaces `path`. A crash leaves the old file or the new one, never a part. ERRORS: as above.
Status save_session(const std::string& path, const Cache& cache, const SessionExtras& extras);

/// What files must fit.
struct SessionExpectations {
  std::uint64_t fingerprint = 0;
  std::int64_t n_vocab = 0;
};

/// Fills `cache`, which must be new, from the bytes of a file; after an error it is unusable.
/// ERRORS: corrupt; unsupported (version); invalid_argument (another model, other KV cache);
/// context_full (longer than the cache's capacity); out_of_memory.
Result<SessionExtras> load_session(std::span<const std::byte> file,
                                   const SessionExpectations& expected,
                                   Cache& cache);

/// The tokens only, checked. For lists of files. ERRORS: as load_session().
Result<std::vector<TokenId>> read_session_tokens(std::span<const std::byte> file,
                                                 const SessionExpectations& expected);

}  // namespace runnel
