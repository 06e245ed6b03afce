#include "runtime/text/jinja/strftime.h"

#include <algorithm>
#include <cstdlib>

namespace runnel::jinja {
namespace {

constexpr std::string_view kDays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                      "Thursday", "Friday", "Saturday"};
constexpr std::string_view kMonths[] = {"January",   "February", "March",    "April",
                                        "May",       "June",     "July",     "August",
                                        "September", "October",  "November", "December"};

std::string padded(long value, std::size_t width, char fill = '0') {
  std::string digits = std::to_string(value);
  if (digits.size() < width) digits.insert(0, width - digits.size(), fill);
  return digits;
}

std::string without_padding(const std::string& text) {
  const std::size_t first = std::min(text.find_first_not_of("0 "), text.size() - 1);
  return text.substr(first);
}

std::string_view day_name(const std::tm& time) {
  return kDays[static_cast<std::size_t>(std::clamp(time.tm_wday, 0, 6))];
}

std::string_view month_name(const std::tm& time) {
  return kMonths[static_cast<std::size_t>(std::clamp(time.tm_mon, 0, 11))];
}

long hour12(const std::tm& time) {
  return time.tm_hour % 12 == 0 ? 12 : time.tm_hour % 12;
}

std::string zone_offset(const std::tm& time) {
  const long minutes = std::labs(time.tm_gmtoff) / 60;
  return (time.tm_gmtoff < 0 ? "-" : "+") + padded(minutes / 60, 2) + padded(minutes % 60, 2);
}

/// A conversion that stands for several others, or nothing.
std::string_view composed(char conversion) {
  switch (conversion) {
    case 'c':
      return "%a %b %e %H:%M:%S %Y";
    case 'D':
    case 'x':
      return "%m/%d/%y";
    case 'F':
      return "%Y-%m-%d";
    case 'T':
    case 'X':
      return "%H:%M:%S";
    case 'R':
      return "%H:%M";
    case 'r':
      return "%I:%M:%S %p";
    default:
      return {};
  }
}

/// Text of one conversion; empty when it is unknown.
std::string converted(char conversion, const std::tm& time) {
  switch (conversion) {
    case 'a':
      return std::string(day_name(time).substr(0, 3));
    case 'A':
      return std::string(day_name(time));
    case 'b':
    case 'h':
      return std::string(month_name(time).substr(0, 3));
    case 'B':
      return std::string(month_name(time));
    case 'C':
      return padded((time.tm_year + 1900L) / 100, 2);
    case 'd':
      return padded(time.tm_mday, 2);
    case 'e':
      return padded(time.tm_mday, 2, ' ');
    case 'f':
      return "000000";
    case 'H':
      return padded(time.tm_hour, 2);
    case 'I':
      return padded(hour12(time), 2);
    case 'j':
      return padded(time.tm_yday + 1L, 3);
    case 'm':
      return padded(time.tm_mon + 1L, 2);
    case 'M':
      return padded(time.tm_min, 2);
    case 'p':
      return time.tm_hour < 12 ? "AM" : "PM";
    case 'S':
      return padded(time.tm_sec, 2);
    case 'u':
      return std::to_string(time.tm_wday == 0 ? 7 : time.tm_wday);
    case 'U':
      return padded((time.tm_yday + 7L - time.tm_wday) / 7, 2);
    case 'w':
      return std::to_string(time.tm_wday);
    case 'W':
      return padded((time.tm_yday + 7L - (time.tm_wday + 6) % 7) / 7, 2);
    case 'y':
      return padded((time.tm_year + 1900L) % 100, 2);
    case 'Y':
      return padded(time.tm_year + 1900L, 4);
    case 'z':
      return zone_offset(time);
    case 'Z':
      return time.tm_zone != nullptr ? time.tm_zone : "UTC";
    case 'n':
      return "\n";
    case 't':
      return "\t";
    case '%':
      return "%";
    default:
      return {};
  }
}

}  // namespace

std::tm local_time_now() {
  const std::time_t now = std::time(nullptr);
  std::tm time{};
  localtime_r(&now, &time);
  return time;
}

std::string format_time(std::string_view format, const std::tm& time) {
  std::string out;
  for (std::size_t at = 0; at < format.size(); ++at) {
    const bool drops_zeros = format.substr(at, 2) == "%-" && at + 2 < format.size();
    const std::size_t letter = at + (drops_zeros ? 2 : 1);
    std::string text;
    if (format[at] == '%' && letter < format.size()) {
      const std::string_view parts = composed(format[letter]);
      text = parts.empty() ? converted(format[letter], time) : format_time(parts, time);
    }
    if (text.empty()) {
      out.push_back(format[at]);
      continue;
    }
    out += drops_zeros ? without_padding(text) : text;
    at = letter;
  }
  return out;
}

}  // namespace runnel::jinja
