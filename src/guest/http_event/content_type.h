#pragma once

#include <string_view>

namespace tau::guest {

// The media type of bytes without a Content-Type, by their first 512, after the WHATWG MIME
// Sniffing standard: what net/http of Go answers for the same bytes, for text, markup, images,
// archives and WebAssembly.
std::string_view sniff_content_type(std::string_view first_bytes);

}  // namespace tau::guest
