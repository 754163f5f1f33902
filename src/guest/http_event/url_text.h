// The pieces of URL handling that guests can see: form decoding of queries, and where a redirect
// points.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tau::guest {

// "a=1&b=x+y" in order, form-decoded. Pairs that are not valid (a bad %, a ';') are left out, the
// others stay.
std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query);

// Nothing if a '%' is not followed by two hexadecimal digits. `plus`: what '+' stands for.
bool percent_decode(std::string_view text, char plus, std::string& out);

// What net/http of Go puts into Location: a URL without a scheme is resolved against the request's
// path and cleaned of
// "." and ".."; bytes that are not ASCII are percent-encoded.
std::string redirect_location(std::string_view url, std::string_view request_path);

std::string html_escape(std::string_view text);

}  // namespace tau::guest
