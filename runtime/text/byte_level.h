// The byte <-> character map of byte-level BPE vocabularies: every byte is written as one printable
// character, so that vocabularies and merges are readable text. Pure functions, thread-safe.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace runnel {

/// The character that stands for `byte`: itself for the printable bytes of Latin-1 (33..126,
/// 161..172, 174..255), else U+0100 + its rank among the other bytes.
/// SOURCE: bytes_to_unicode of the GPT-2 reference encoder.
char32_t byte_level_char(std::uint8_t byte);

/// Appends the bytes that `text` spells to `out`. False when a character stands for no byte or the
/// text is not UTF-8; `out` is then unchanged.
bool byte_level_decode(std::string_view text, std::string& out);

}  // namespace runnel
