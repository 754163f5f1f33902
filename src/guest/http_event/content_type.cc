#include "guest/http_event/content_type.h"

#include <algorithm>
#include <cstddef>

namespace tau::guest {
namespace {

using namespace std::literals;

constexpr std::size_t kSniffedBytesMax = 512;  // of the standard

struct Signature {
  std::string_view bytes, type;
};

// A tag counts if a space or '>' follows it.
constexpr std::string_view kMarkup[] = {
    "<!DOCTYPE HTML"sv,
    "<HTML"sv,
    "<HEAD"sv,
    "<SCRIPT"sv,
    "<IFRAME"sv,
    "<H1"sv,
    "<DIV"sv,
    "<FONT"sv,
    "<TABLE"sv,
    "<A"sv,
    "<STYLE"sv,
    "<TITLE"sv,
    "<B"sv,
    "<BODY"sv,
    "<BR"sv,
    "<P"sv,
    "<!--"sv,
};
constexpr Signature kSignatures[] = {
    {"%PDF-"sv, "application/pdf"sv},
    {"%!PS-Adobe-"sv, "application/postscript"sv},
    {"\xFE\xFF"sv, "text/plain; charset=utf-16be"sv},
    {"\xFF\xFE"sv, "text/plain; charset=utf-16le"sv},
    {"\xEF\xBB\xBF"sv, "text/plain; charset=utf-8"sv},
    {"\x00\x00\x01\x00"sv, "image/x-icon"sv},
    {"\x00\x00\x02\x00"sv, "image/x-icon"sv},
    {"BM"sv, "image/bmp"sv},
    {"GIF87a"sv, "image/gif"sv},
    {"GIF89a"sv, "image/gif"sv},
    {"\x89PNG\x0D\x0A\x1A\x0A"sv, "image/png"sv},
    {"\xFF\xD8\xFF"sv, "image/jpeg"sv},
    {"OggS\x00"sv, "application/ogg"sv},
    {"ID3"sv, "audio/mpeg"sv},
    {"\x1A\x45\xDF\xA3"sv, "video/webm"sv},
    {"\x1F\x8B\x08"sv, "application/x-gzip"sv},
    {"PK\x03\x04"sv, "application/zip"sv},
    {"wOFF"sv, "font/woff"sv},
    {"wOF2"sv, "font/woff2"sv},
    {"\x00\x61\x73\x6D"sv, "application/wasm"sv},
};

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

bool is_markup(std::string_view text) {
  return std::ranges::any_of(kMarkup, [&](std::string_view tag) {
    if (text.size() <= tag.size()) return false;
    if (!std::equal(tag.begin(), tag.end(), text.begin(),
                    [](char t, char c) { return t == upper(c); })) {
      return false;
    }
    return tag == "<!--"sv || text[tag.size()] == ' ' || text[tag.size()] == '>';
  });
}

bool is_binary(unsigned char c) {
  return c <= 0x08 || c == 0x0B || (c >= 0x0E && c <= 0x1A) || (c >= 0x1C && c <= 0x1F);
}

}  // namespace

std::string_view sniff_content_type(std::string_view bytes) {
  bytes = bytes.substr(0, kSniffedBytesMax);
  const std::size_t start = bytes.find_first_not_of("\t\n\x0C\r ");
  const std::string_view text = start == bytes.npos ? std::string_view() : bytes.substr(start);
  if (is_markup(text)) return "text/html; charset=utf-8";
  if (text.starts_with("<?xml")) return "text/xml; charset=utf-8";
  for (const Signature& s : kSignatures) {
    if (bytes.starts_with(s.bytes)) return s.type;
  }
  if (bytes.starts_with("RIFF") && bytes.size() >= 12) {
    if (bytes.substr(8).starts_with("WEBPVP")) return "image/webp";
    if (bytes.substr(8).starts_with("WAVE")) return "audio/wave";
    if (bytes.substr(8).starts_with("AVI ")) return "video/avi";
  }
  if (std::ranges::any_of(bytes, [](char c) { return is_binary(static_cast<unsigned char>(c)); })) {
    return "application/octet-stream";
  }
  return "text/plain; charset=utf-8";
}

}  // namespace tau::guest
