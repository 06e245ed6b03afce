// Dates for strftime_now(), independent of the locale.
#pragma once
#include <ctime>
#include <string>
#include <string_view>

namespace runnel::jinja {

/// The current local time.
std::tm local_time_now();
/// Like strftime in the C locale, for the conversions a A b B c d D e f F g... that dates in
/// prompts use; "-" after the percent sign drops leading zeros. What is unknown stays as written.
std::string format_time(std::string_view format, const std::tm& time);

}  // namespace runnel::jinja
