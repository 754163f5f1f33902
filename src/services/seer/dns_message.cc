#include "services/seer/dns_message.h"

#include <algorithm>

namespace tau::seer::dns {
namespace {

constexpr std::size_t kHeaderSize = 12;
constexpr std::size_t kNameSizeMax = 255;  // RFC 1035, 2.3.4, the zero at the end included
constexpr std::size_t kLabelSizeMax = 63;
constexpr std::uint16_t kResponse = 0x8000, kAuthoritative = 0x0400, kTruncated = 0x0200,
                        kRecursionDesired = 0x0100, kOpcode = 0x7800;
constexpr std::uint16_t kClassIn = 1;
// OPT and TSIG or SIG(0), and room for what may come; each costs a few steps.
constexpr std::uint16_t kAdditionalsMax = 4;

std::uint16_t get16(BytesView in, std::size_t at) {
  return static_cast<std::uint16_t>(in[at] << 8 | in[at + 1]);
}

void append_label(std::string& text, BytesView label) {
  if (!text.empty()) text.push_back('.');
  for (const std::uint8_t c : label) {
    if (c >= 'A' && c <= 'Z') {
      text.push_back(static_cast<char>(c - 'A' + 'a'));
    } else if (c > ' ' && c < 0x7f && c != '.' && c != '\\') {
      text.push_back(static_cast<char>(c));
    } else {
      text.push_back('\\');
      for (const int power : {100, 10, 1}) text.push_back(static_cast<char>('0' + c / power % 10));
    }
  }
}

// Reads an uncompressed name at `at` (a question comes first: there is nothing that it could point
// to). False: malformed.
bool take_name(BytesView in, std::size_t& at, std::string& text) {
  const std::size_t start = at;
  for (;;) {
    if (at >= in.size() || at - start >= kNameSizeMax) return false;
    const std::uint8_t length = in[at++];
    if (length == 0) return true;
    if (length > kLabelSizeMax || at + length > in.size()) return false;
    append_label(text, in.subspan(at, length));
    at += length;
  }
}

// Steps over a record's owner, which may be compressed. False: malformed.
bool skip_name(BytesView in, std::size_t& at) {
  const std::size_t start = at;
  while (at < in.size() && at - start < kNameSizeMax) {
    const std::uint8_t length = in[at];
    if (length >= 0xc0) return (at += 2) <= in.size();
    if (length > kLabelSizeMax) return false;
    at += 1 + length;
    if (length == 0) return true;
  }
  return false;
}

// Whether `data` is a sequence of options (RFC 6891, 6.1.2).
bool well_formed_options(BytesView data) {
  while (!data.empty()) {
    if (data.size() < 4) return false;
    const std::size_t length = get16(data, 2);
    if (data.size() - 4 < length) return false;
    data = data.subspan(4 + length);
  }
  return true;
}

// Reads one record of the additional section; an OPT record goes into `query`. Gives why not.
std::string_view take_additional(BytesView in, std::size_t& at, Query& query) {
  const bool owner_is_root = at < in.size() && in[at] == 0;
  if (!skip_name(in, at) || at + 10 > in.size()) return "malformed additional record";
  const std::uint16_t type = get16(in, at), size = get16(in, at + 2), length = get16(in, at + 8);
  const std::uint8_t version = in[at + 5];
  at += 10;
  if (at + length > in.size()) return "cut short in an additional record";
  const BytesView data = in.subspan(at, length);
  at += length;
  if (type != static_cast<std::uint16_t>(Type::opt)) return {};
  if (query.edns) return "more than one OPT record";
  if (!owner_is_root || !well_formed_options(data)) return "malformed OPT record";
  query.edns = true;
  query.edns_version = version;
  query.udp_size = std::max(size, kUdpSizePlain);
  return {};
}

Bytes encode_record(const Record& record) {
  Bytes raw;
  if (record.owner.empty()) {
    put16(raw, 0xc000 | kHeaderSize);  // the question's name
  } else {
    put_name(raw, record.owner);
  }
  put16(raw, static_cast<std::uint16_t>(record.type));
  put16(raw, kClassIn);
  put32(raw, record.ttl_seconds);
  put16(raw, static_cast<std::uint16_t>(record.data.size()));
  raw.insert(raw.end(), record.data.begin(), record.data.end());
  return raw;
}

Bytes encode_opt(Rcode rcode) {
  Bytes opt = {0};
  put16(opt, static_cast<std::uint16_t>(Type::opt));
  put16(opt, kUdpSizeMax);
  put32(opt, static_cast<std::uint32_t>(static_cast<std::uint16_t>(rcode) >> 4) << 24);
  put16(opt, 0);
  return opt;
}

// Appends what fits and counts it at `count_at`. False: something did not fit.
bool append_section(Bytes& out, const std::vector<Record>& records, std::size_t size_max,
                    std::size_t count_at) {
  std::uint16_t count = 0;
  bool all = true;
  for (const Record& record : records) {
    const Bytes raw = encode_record(record);
    all = out.size() + raw.size() <= size_max && count < 0xffff;
    if (!all) break;
    out.insert(out.end(), raw.begin(), raw.end());
    ++count;
  }
  out[count_at] = static_cast<std::uint8_t>(count >> 8);
  out[count_at + 1] = static_cast<std::uint8_t>(count);
  return all;
}

}  // namespace

void put16(Bytes& out, std::uint16_t v) {
  out.push_back(static_cast<std::uint8_t>(v >> 8));
  out.push_back(static_cast<std::uint8_t>(v));
}

void put32(Bytes& out, std::uint32_t v) {
  put16(out, static_cast<std::uint16_t>(v >> 16));
  put16(out, static_cast<std::uint16_t>(v));
}

void put_name(Bytes& out, std::string_view name) {
  while (!name.empty()) {
    const auto dot = std::min(name.find('.'), name.size());
    out.push_back(static_cast<std::uint8_t>(dot));
    out.insert(out.end(), name.begin(), name.begin() + static_cast<std::ptrdiff_t>(dot));
    name.remove_prefix(std::min(dot + 1, name.size()));
  }
  out.push_back(0);
}

std::expected<Query, BadQuery> parse_query(BytesView in) {
  if (in.size() < kHeaderSize)
    return std::unexpected(BadQuery{{}, 0, false, "shorter than a header"});
  Query query;
  query.id = get16(in, 0);
  const std::uint16_t flags = get16(in, 2);
  const auto bad = [&](std::string_view why) {
    return std::unexpected(BadQuery{query.id, flags, (flags & kResponse) != 0, std::string(why)});
  };
  if (flags & kResponse) return bad("a response, not a query");
  query.opcode = static_cast<std::uint8_t>((flags & kOpcode) >> 11);
  query.recursion_desired = flags & kRecursionDesired;
  if (query.opcode != 0) return query;
  const std::uint16_t questions = get16(in, 4), answers = get16(in, 6), authorities = get16(in, 8),
                      additionals = get16(in, 10);
  if (questions != 1 || answers != 0 || authorities != 0 || additionals > kAdditionalsMax)
    return bad("one question is wanted, and nothing else");
  std::size_t at = kHeaderSize;
  if (!take_name(in, at, query.name)) return bad("malformed name");
  if (at + 4 > in.size()) return bad("cut short in the question");
  query.type = get16(in, at);
  query.qclass = get16(in, at + 2);
  at += 4;
  query.question.assign(in.begin() + kHeaderSize, in.begin() + static_cast<std::ptrdiff_t>(at));
  for (std::uint16_t i = 0; i < additionals; ++i)
    if (const auto why = take_additional(in, at, query); !why.empty()) return bad(why);
  if (at != in.size()) return bad("bytes follow the message");
  return query;
}

Bytes encode_answer(const Query& query, const Answer& answer, std::size_t size_max) {
  const auto rcode = static_cast<std::uint16_t>(answer.rcode);
  Bytes out;
  put16(out, query.id);
  std::uint16_t flags = kResponse | static_cast<std::uint16_t>(query.opcode << 11) | (rcode & 15);
  if (answer.authoritative) flags |= kAuthoritative;
  if (query.recursion_desired) flags |= kRecursionDesired;
  put16(out, flags);
  put16(out, query.question.empty() ? 0 : 1);
  for (int i = 0; i < 3; ++i) put16(out, 0);  // counts, filled in below
  out.insert(out.end(), query.question.begin(), query.question.end());

  const Bytes opt = query.edns ? encode_opt(answer.rcode) : Bytes{};
  const std::size_t room = size_max - std::min(size_max, opt.size());
  bool whole = !answer.truncated && append_section(out, answer.answers, room, 6);
  whole = whole && append_section(out, answer.authorities, room, 8);
  if (whole) {
    (void)append_section(out, answer.additionals, room, 10);
  } else {
    out[2] |= static_cast<std::uint8_t>(kTruncated >> 8);
  }
  if (query.edns) {
    out.insert(out.end(), opt.begin(), opt.end());
    if (++out[11] == 0) ++out[10];
  }
  return out;
}

Bytes encode_format_error(const BadQuery& query) {
  Bytes out;
  put16(out, query.id.value_or(0));
  put16(out, static_cast<std::uint16_t>(kResponse | (query.flags & (kOpcode | kRecursionDesired)) |
                                        static_cast<std::uint16_t>(Rcode::format_error)));
  for (int i = 0; i < 4; ++i) put16(out, 0);
  return out;
}

}  // namespace tau::seer::dns
