#include "http/parser.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"

namespace tau::http {
namespace {

// A chunk's size line may carry extensions, which nobody uses; long ones are an attack.
constexpr std::size_t kChunkLineMax = 256;
constexpr std::size_t kTrailerBytesMax = 4096;
constexpr std::size_t kMethodSizeMax = 32;
// 18 digits always fit 64 bits; no body of ours is near it.
constexpr std::size_t kLengthDigitsMax = 18;
constexpr std::size_t kChunkDigitsMax = 15;

using Class = std::array<bool, 256>;
constexpr Class make_class(std::string_view others, bool alphanumeric, bool visible, bool obs_text,
                           bool blank) {
  Class c{};
  for (int i = 0; i < 256; ++i) {
    const bool letter = (i >= 'a' && i <= 'z') || (i >= 'A' && i <= 'Z') || (i >= '0' && i <= '9');
    c[static_cast<std::size_t>(i)] = (alphanumeric && letter) ||
                                     (visible && i > 0x20 && i < 0x7f) || (obs_text && i >= 0x80) ||
                                     (blank && (i == ' ' || i == '\t')) ||
                                     others.find(static_cast<char>(i)) != std::string_view::npos;
  }
  return c;
}
constexpr Class kToken = make_class("!#$%&'*+-.^_`|~", true, false, false, false);
constexpr Class kValue = make_class("", false, true, true, true);
constexpr Class kTarget = [] {
  Class c = make_class("", false, true, false, false);
  c['#'] = false;  // a fragment is never sent
  return c;
}();
// reg-name, IPv4 or [IPv6], and a port: RFC 3986, without percent encoding and user information.
constexpr Class kAuthority = make_class("-._~:[]!$&'()*+,;=", true, false, false, false);

bool all_of(const Class& allowed, std::string_view text) {
  return std::ranges::all_of(text, [&](char c) { return allowed[static_cast<unsigned char>(c)]; });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The next line without its CRLF. The scanner has seen that every line ends so.
std::string_view take_line(std::string_view& head) {
  const std::size_t end = head.find("\r\n");
  CHECK(end != std::string_view::npos);
  const std::string_view line = head.substr(0, end);
  head.remove_prefix(end + 2);
  return line;
}

std::optional<Refusal> parse_field(std::string_view line, HeaderView& out) {
  if (line.front() == ' ' || line.front() == '\t') return Refusal{400, "a folded header line"};
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return Refusal{400, "a header line without a colon"};
  out.name = line.substr(0, colon);
  if (out.name.empty() || !all_of(kToken, out.name))
    return Refusal{400, "a header name with characters that it must not have"};
  out.value = trim(line.substr(colon + 1));
  if (!all_of(kValue, out.value)) return Refusal{400, "a header value with control characters"};
  return std::nullopt;
}

bool parse_length(std::string_view text, std::uint64_t& out) {
  if (text.empty() || text.size() > kLengthDigitsMax) return false;
  std::uint64_t n = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    n = n * 10 + static_cast<std::uint64_t>(c - '0');
  }
  out = n;
  return true;
}

bool has_token(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const std::string_view part = list.substr(0, list.find(','));
    if (equal_ignoring_case(trim(part), token)) return true;
    list.remove_prefix(std::min(list.size(), part.size() + 1));
  }
  return false;
}

// What the header fields say about the body and the connection, the same for both directions.
struct Framed {
  bool has_length = false;
  std::uint64_t length = 0;
  bool chunked = false;
  bool close = false;
  bool keep_alive = false;
};
std::optional<Refusal> note(const HeaderView& field, Framed& out) {
  switch (field.name.size()) {
    case 10:
      if (equal_ignoring_case(field.name, "connection")) {
        if (has_token(field.value, "close")) out.close = true;
        if (has_token(field.value, "keep-alive")) out.keep_alive = true;
      }
      break;
    case 14:
      if (equal_ignoring_case(field.name, "content-length")) {
        if (out.has_length) return Refusal{400, "more than one Content-Length"};
        if (!parse_length(field.value, out.length))
          return Refusal{400, "a Content-Length that is no number"};
        out.has_length = true;
      }
      break;
    case 17:
      if (equal_ignoring_case(field.name, "transfer-encoding")) {
        if (out.chunked) return Refusal{400, "more than one Transfer-Encoding"};
        if (!equal_ignoring_case(field.value, "chunked"))
          return Refusal{501, "a Transfer-Encoding other than chunked"};
        out.chunked = true;
      }
      break;
    default:
      break;
  }
  return std::nullopt;
}

bool valid_authority(std::string_view authority) {
  if (!all_of(kAuthority, authority)) return false;
  std::string_view port;
  if (authority.starts_with('[')) {
    const std::size_t end = authority.find(']');
    if (end == std::string_view::npos) return false;
    port = authority.substr(end + 1);
    if (authority.find('[', 1) != std::string_view::npos ||
        port.find(']') != std::string_view::npos)
      return false;
  } else {
    if (authority.find_first_of("[]") != std::string_view::npos) return false;
    const std::size_t colon = authority.find(':');
    if (colon == 0) return false;
    if (colon != std::string_view::npos) port = authority.substr(colon);
  }
  if (port.empty()) return true;
  return port.front() == ':' && port.size() <= 6 &&
         port.find_first_not_of("0123456789", 1) == std::string_view::npos;
}

std::optional<Refusal> parse_target(std::string_view target, RequestHead& out) {
  out.target = target;
  out.authority = {};
  if (!all_of(kTarget, target)) return Refusal{400, "a target with characters it must not have"};
  if (target == "*") {
    if (out.method != "OPTIONS") return Refusal{400, "the target * is for OPTIONS only"};
    out.path = target;
    out.query = {};
    return std::nullopt;
  }
  if (!target.starts_with('/')) {  // absolute form, as to a proxy
    const std::size_t scheme = target.find("://");
    if (scheme == std::string_view::npos ||
        (!equal_ignoring_case(target.substr(0, scheme), "http") &&
         !equal_ignoring_case(target.substr(0, scheme), "https")))
      return Refusal{400, "a target that is neither a path nor an http URL"};
    target.remove_prefix(scheme + 3);
    const std::size_t end = std::min(target.find_first_of("/?"), target.size());
    out.authority = target.substr(0, end);
    target.remove_prefix(end);
    if (out.authority.empty()) return Refusal{400, "a target without a host"};
    if (target.empty()) target = "/";
    if (target.front() != '/') return Refusal{400, "a target without a path"};
  }
  const std::size_t question = target.find('?');
  out.path = target.substr(0, question);
  out.query = question == std::string_view::npos ? std::string_view{} : target.substr(question + 1);
  return std::nullopt;
}

std::optional<Refusal> parse_version(std::string_view text, int& minor) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.size() != 8 || !text.starts_with("HTTP/") || !digit(text[5]) || text[6] != '.' ||
      !digit(text[7]))
    return Refusal{400, "a request line that does not end in the HTTP version"};
  if (text[5] != '1' || (text[7] != '0' && text[7] != '1'))
    return Refusal{505, "only HTTP/1.1 and HTTP/1.0 are spoken here"};
  minor = text[7] - '0';
  return std::nullopt;
}

std::optional<Refusal> parse_request_line(std::string_view line, const HeadLimits& limits,
                                          RequestHead& out) {
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos) return Refusal{400, "a request line without a target"};
  out.method = line.substr(0, space);
  if (out.method.empty() || !all_of(kToken, out.method))
    return Refusal{400, "a method that is no token"};
  if (out.method.size() > kMethodSizeMax) return Refusal{501, "a method of more than 32 letters"};
  const std::string_view rest = line.substr(space + 1);
  const std::size_t end = rest.find(' ');
  if (end == std::string_view::npos) return Refusal{400, "a request line without a version"};
  if (end == 0) return Refusal{400, "a request line without a target"};
  if (end > limits.target_bytes) return Refusal{414, "the target is too long"};
  if (auto refusal = parse_version(rest.substr(end + 1), out.minor_version)) return refusal;
  if (out.method == "CONNECT") return Refusal{501, "this is no proxy"};
  return parse_target(rest.substr(0, end), out);
}

}  // namespace

bool valid_header(std::string_view name, std::string_view value) {
  return !name.empty() && all_of(kToken, name) && all_of(kValue, value);
}

std::variant<std::size_t, Refusal> HeadScanner::scan(std::string_view input,
                                                     const HeadLimits& limits) {
  while (scanned_ < input.size()) {
    const void* found = std::memchr(input.data() + scanned_, '\n', input.size() - scanned_);
    if (!found) {
      scanned_ = input.size();
      break;
    }
    const std::size_t at = static_cast<std::size_t>(static_cast<const char*>(found) - input.data());
    if (at >= limits.head_bytes) break;
    if (at == 0 || input[at - 1] != '\r') return Refusal{400, "a line that ends without CR"};
    const bool empty = at - 1 == line_;
    line_ = scanned_ = at + 1;
    // One empty line before the request is to be ignored (RFC 9112, 2.2).
    if (empty && !(lines_ == 0 && at == 1)) return at + 1;
    if (!empty && ++lines_ > limits.headers + 1) return Refusal{431, "too many header fields"};
  }
  if (input.size() >= limits.head_bytes) {
    // In the first line it is the target that is too long.
    if (lines_ == 0) return Refusal{414, "the request line is too long"};
    return Refusal{431, "the head is too long"};
  }
  if (lines_ == 0 && input.size() - line_ > limits.target_bytes + kMethodSizeMax + 16)
    return Refusal{414, "the request line is too long"};
  return std::size_t{0};
}

std::optional<Refusal> parse_request_head(std::string_view head, const HeadLimits& limits,
                                          RequestHead& out) {
  if (head.starts_with("\r\n")) head.remove_prefix(2);
  if (auto refusal = parse_request_line(take_line(head), limits, out)) return refusal;
  out.headers.clear();
  out.expects_continue = false;
  Framed framed;
  std::string_view host;
  bool has_host = false;
  for (;;) {
    const std::string_view line = take_line(head);
    if (line.empty()) break;
    HeaderView field;
    if (auto refusal = parse_field(line, field)) return refusal;
    if (auto refusal = note(field, framed)) return refusal;
    if (field.name.size() == 4 && equal_ignoring_case(field.name, "host")) {
      if (has_host) return Refusal{400, "more than one Host"};
      has_host = true;
      host = field.value;
    } else if (field.name.size() == 6 && equal_ignoring_case(field.name, "expect")) {
      if (!equal_ignoring_case(field.value, "100-continue"))
        return Refusal{417, "an Expect other than 100-continue"};
      out.expects_continue = out.minor_version == 1;
    }
    out.headers.add(field.name, field.value);
  }
  if (out.headers.size() > limits.headers) return Refusal{431, "too many header fields"};
  if (!has_host && out.minor_version == 1) return Refusal{400, "the Host header is missing"};
  // RFC 9112, 3.2.2: the host of the target counts, whatever Host says.
  if (out.authority.empty()) out.authority = host;
  if (!valid_authority(out.authority) || !valid_authority(host))
    return Refusal{400, "a host with characters that it must not have"};
  if (framed.chunked && framed.has_length)
    return Refusal{400, "both Content-Length and Transfer-Encoding"};
  if (framed.chunked && out.minor_version == 0)
    return Refusal{400, "Transfer-Encoding in an HTTP/1.0 request"};
  out.framing = framed.chunked                           ? Framing::chunked
                : framed.has_length && framed.length > 0 ? Framing::length
                                                         : Framing::none;
  out.content_length = framed.length;
  out.keep_alive = !framed.close && (out.minor_version == 1 || framed.keep_alive);
  return std::nullopt;
}

std::optional<Refusal> parse_response_head(std::string_view head, std::string_view method,
                                           const HeadLimits& limits, ResponseHead& out) {
  const std::string_view line = take_line(head);
  int minor = 1;
  if (line.size() < 12 || line[8] != ' ' || (line.size() > 12 && line[12] != ' '))
    return Refusal{502, "a status line that is none"};
  if (auto refusal = parse_version(line.substr(0, 8), minor)) return refusal;
  out.status = 0;
  for (const char c : line.substr(9, 3)) {
    if (c < '0' || c > '9') return Refusal{502, "a status that is no number"};
    out.status = out.status * 10 + (c - '0');
  }
  if (out.status < 100) return Refusal{502, "a status below 100"};
  out.headers.clear();
  Framed framed;
  for (;;) {
    const std::string_view field_line = take_line(head);
    if (field_line.empty()) break;
    HeaderView field;
    if (auto refusal = parse_field(field_line, field)) return refusal;
    if (auto refusal = note(field, framed)) return refusal;
    out.headers.add(field.name, field.value);
  }
  if (out.headers.size() > limits.headers) return Refusal{502, "too many header fields"};
  if (framed.chunked && framed.has_length)
    return Refusal{502, "both Content-Length and Transfer-Encoding"};
  out.content_length = framed.length;
  if (out.status < 200 || out.status == 204 || out.status == 304 || method == "HEAD") {
    out.framing = Framing::none;
  } else if (framed.chunked) {
    out.framing = Framing::chunked;
  } else if (framed.has_length) {
    out.framing = framed.length > 0 ? Framing::length : Framing::none;
  } else {
    out.framing = Framing::until_close;
  }
  out.keep_alive =
      !framed.close && (minor == 1 || framed.keep_alive) && out.framing != Framing::until_close;
  return std::nullopt;
}

ChunkDecoder::Step ChunkDecoder::next(std::string_view input, std::size_t at_most) {
  Step step;
  const auto refuse = [&](std::string_view why) {
    step.refusal = Refusal{400, why};
    return step;
  };
  for (;;) {
    const std::string_view rest = input.substr(step.consumed);
    if (state_ == State::finished) {
      step.finished = true;
      return step;
    }
    if (state_ == State::data) {
      step.data = rest.substr(0, std::min<std::uint64_t>({rest.size(), at_most, left_}));
      step.consumed += step.data.size();
      left_ -= step.data.size();
      if (left_ == 0) state_ = State::data_end;
      return step;
    }
    if (state_ == State::data_end) {
      if (rest.empty()) return step;
      if (rest.front() != '\r') return refuse("a chunk that is longer than its size");
      if (rest.size() < 2) return step;
      if (rest[1] != '\n') return refuse("a chunk that is longer than its size");
      step.consumed += 2;
      state_ = State::size;
      continue;
    }
    // A line: a chunk's size, or a trailer field.
    const std::size_t newline = rest.find('\n');
    const std::size_t bound = state_ == State::size ? kChunkLineMax : kTrailerBytesMax;
    if (newline == std::string_view::npos) {
      if (rest.size() > bound) return refuse("a line of the chunked coding that is too long");
      return step;
    }
    if (newline > bound) return refuse("a line of the chunked coding that is too long");
    if (newline == 0 || rest[newline - 1] != '\r') return refuse("a line that ends without CR");
    const std::string_view line = rest.substr(0, newline - 1);
    step.consumed += newline + 1;
    if (state_ == State::trailer) {
      if (line.empty()) {
        state_ = State::finished;
        continue;
      }
      trailer_bytes_ += line.size();
      if (trailer_bytes_ > kTrailerBytesMax) return refuse("too many trailers");
      HeaderView ignored;
      if (auto refusal = parse_field(line, ignored)) {
        step.refusal = refusal;
        return step;
      }
      continue;
    }
    std::uint64_t size = 0;
    std::size_t digits = 0;
    for (; digits < line.size(); ++digits) {
      const char c = line[digits];
      const int lower = c | 0x20;
      int value = 0;
      if (c >= '0' && c <= '9') {
        value = c - '0';
      } else if (lower >= 'a' && lower <= 'f') {
        value = lower - 'a' + 10;
      } else {
        break;
      }
      size = size * 16 + static_cast<std::uint64_t>(value);
      if (digits >= kChunkDigitsMax) return refuse("a chunk size that is too large");
    }
    if (digits == 0) return refuse("a chunk size that is no number");
    const std::string_view extension = line.substr(digits);
    if (!extension.empty() &&
        (trim(extension).empty() || trim(extension).front() != ';' || !all_of(kValue, extension)))
      return refuse("a chunk size that is no number");
    left_ = size;
    state_ = size == 0 ? State::trailer : State::data;
  }
}

}  // namespace tau::http
