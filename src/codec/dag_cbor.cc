#include "codec/dag_cbor.h"

#include <bit>
#include <cmath>

namespace tau::codec {
namespace {

enum Major : std::uint8_t { kUnsigned, kNegative, kBytes, kText, kList, kMap, kTag, kSimple };
constexpr std::uint64_t kLinkTag = 42;

class Writer {
 public:
  Bytes out;

  void operator()(Value::Null) { out.push_back(0xf6); }
  void operator()(bool b) { out.push_back(b ? 0xf5 : 0xf4); }
  void operator()(std::int64_t n) {
    if (n >= 0) {
      head(kUnsigned, static_cast<std::uint64_t>(n));
    } else {
      head(kNegative, ~static_cast<std::uint64_t>(n));
    }
  }
  void operator()(std::uint64_t n) { head(kUnsigned, n); }
  void operator()(double d) {
    out.push_back(0xfb);
    big_endian(std::bit_cast<std::uint64_t>(d), 8);
  }
  void operator()(const std::string& s) { span(kText, as_bytes(s)); }
  void operator()(const Bytes& b) { span(kBytes, b); }
  void operator()(const Cid& cid) {
    head(kTag, kLinkTag);
    Bytes raw = {0x00};  // the identity multibase prefix that the specification asks for
    const Bytes bytes = cid.to_bytes();
    raw.insert(raw.end(), bytes.begin(), bytes.end());
    span(kBytes, raw);
  }
  void operator()(const Value::List& list) {
    head(kList, list.size());
    for (const auto& v : list) std::visit(*this, v.variant());
  }
  void operator()(const Value::Map& map) {
    head(kMap, map.size());
    for (const auto& [key, v] : map) {
      span(kText, as_bytes(key));
      std::visit(*this, v.variant());
    }
  }

 private:
  void big_endian(std::uint64_t n, int bytes) {
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
      out.push_back(static_cast<std::uint8_t>(n >> shift));
  }
  void head(Major major, std::uint64_t n) {
    const auto m = static_cast<std::uint8_t>(major << 5);
    if (n < 24) {
      out.push_back(static_cast<std::uint8_t>(m | n));
      return;
    }
    const int bytes = n <= 0xff ? 1 : n <= 0xffff ? 2 : n <= 0xffffffff ? 4 : 8;
    out.push_back(static_cast<std::uint8_t>(m | (bytes == 1   ? 24
                                                 : bytes == 2 ? 25
                                                 : bytes == 4 ? 26
                                                              : 27)));
    big_endian(n, bytes);
  }
  void span(Major major, BytesView bytes) {
    head(major, bytes.size());
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
};

// Text must be UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(BytesView s) {
  for (std::size_t i = 0; i < s.size();) {
    const std::uint8_t c = s[i++];
    if (c < 0x80) continue;
    const int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    if (c < 0xc2 || c > 0xf4 || i + more > s.size()) return false;
    std::uint32_t point = c & (0x3f >> more);
    for (int k = 0; k < more; ++k) {
      if ((s[i] & 0xc0) != 0x80) return false;
      point = (point << 6) | (s[i++] & 0x3f);
    }
    if (more == 2 && (point < 0x800 || (point >= 0xd800 && point < 0xe000))) return false;
    if (more == 3 && (point < 0x10000 || point > 0x10ffff)) return false;
  }
  return true;
}

class Reader {
 public:
  explicit Reader(BytesView data) : all_(data), in_(data) {}

  Result<Value> whole() {
    TRY(Value v, value(0));
    if (!in_.empty()) return wrong("bytes follow the value");
    return v;
  }

 private:
  struct Head {
    Major major;
    std::uint8_t info;
    std::uint64_t n;
  };

  std::unexpected<Error> wrong(std::string_view what) const {
    return fail(
        ErrorCode::invalid_argument,
        "DAG-CBOR, byte " + std::to_string(all_.size() - in_.size()) + ": " + std::string(what));
  }

  Result<Head> head() {
    if (in_.empty()) return wrong("data is cut short");
    const std::uint8_t byte = in_[0];
    Head h{static_cast<Major>(byte >> 5), static_cast<std::uint8_t>(byte & 31), byte & 31u};
    if (h.info < 24) {
      in_ = in_.subspan(1);
      return h;
    }
    if (h.info > 27) return wrong("indefinite lengths and reserved forms are not DAG-CBOR");
    const std::size_t bytes = std::size_t{1} << (h.info - 24);
    if (in_.size() < 1 + bytes) return wrong("data is cut short");
    h.n = 0;
    for (std::size_t i = 1; i <= bytes; ++i) h.n = (h.n << 8) | in_[i];
    if (h.major != kSimple) {
      const bool shortest = bytes == 1   ? h.n >= 24
                            : bytes == 2 ? h.n > 0xff
                            : bytes == 4 ? h.n > 0xffff
                                         : h.n > 0xffffffff;
      if (!shortest) return wrong("number is not in its shortest form");
    }
    in_ = in_.subspan(1 + bytes);
    return h;
  }

  Result<BytesView> span(std::uint64_t n) {
    if (n > in_.size()) return wrong("length goes beyond the data");
    const BytesView out = in_.first(n);
    in_ = in_.subspan(n);
    return out;
  }
  Result<std::string> text(std::uint64_t n) {
    TRY(const BytesView s, span(n));
    if (!is_utf8(s)) return wrong("text is not UTF-8");
    return to_text(s);
  }

  Result<Value> value(int depth) {
    if (depth > kCborDepthMax) return wrong("nested too deeply");
    TRY(const Head h, head());
    switch (h.major) {
      case kUnsigned:
        return Value::of_unsigned(h.n);
      case kNegative:
        if (h.n > INT64_MAX) return wrong("negative number does not fit in 64 bits");
        return Value(static_cast<std::int64_t>(~h.n));
      case kBytes: {
        TRY(const BytesView b, span(h.n));
        return Value(to_bytes(b));
      }
      case kText: {
        TRY(std::string s, text(h.n));
        return Value(std::move(s));
      }
      case kList: {
        if (h.n > in_.size()) return wrong("list is longer than the data");
        Value::List list;
        for (std::uint64_t i = 0; i < h.n; ++i) {
          TRY(Value v, value(depth + 1));
          list.push_back(std::move(v));
        }
        return Value(std::move(list));
      }
      case kMap:
        return map(h.n, depth);
      case kTag:
        return link(h.n);
      case kSimple:
        return simple(h);
    }
    return wrong("unreachable");
  }

  Result<Value> map(std::uint64_t n, int depth) {
    if (n > in_.size() / 2) return wrong("map is longer than the data");
    Value::Map map;
    for (std::uint64_t i = 0; i < n; ++i) {
      TRY(const Head h, head());
      if (h.major != kText) return wrong("map key is not text");
      TRY(std::string key, text(h.n));
      if (!map.empty() && !Value::KeyOrder{}(map.rbegin()->first, key))
        return wrong("map keys are repeated or out of order");
      TRY(Value v, value(depth + 1));
      map.emplace_hint(map.end(), std::move(key), std::move(v));
    }
    return Value(std::move(map));
  }

  Result<Value> link(std::uint64_t tag) {
    if (tag != kLinkTag) return wrong("only tag 42 (a link) is DAG-CBOR");
    TRY(const Head h, head());
    if (h.major != kBytes) return wrong("link is not bytes");
    TRY(const BytesView raw, span(h.n));
    if (raw.empty() || raw[0] != 0) return wrong("link lacks its zero prefix");
    auto cid = Cid::from_bytes(raw.subspan(1));
    if (!cid) return wrong(cid.error().message());
    return Value(*cid);
  }

  Result<Value> simple(const Head& h) {
    if (h.info == 20 || h.info == 21) return Value(h.info == 21);
    if (h.info == 22) return Value();
    if (h.info != 27) return wrong("only false, true, null and 64-bit floats are DAG-CBOR");
    const double d = std::bit_cast<double>(h.n);
    if (!std::isfinite(d)) return wrong("float is not finite");
    return Value(d);
  }

  BytesView all_, in_;
};

}  // namespace

Value Value::of_unsigned(std::uint64_t n) {
  if (n > INT64_MAX) return Value(n);
  return Value(static_cast<std::int64_t>(n));
}

std::string_view Value::type_name() const {
  static constexpr std::string_view kNames[] = {"null", "boolean", "integer", "integer", "float",
                                                "text", "bytes",   "link",    "list",    "map"};
  return kNames[v_.index()];
}

Bytes encode(const Value& value) {
  Writer writer;
  std::visit(writer, value.variant());
  return std::move(writer.out);
}

Result<Value> decode(BytesView data) { return Reader(data).whole(); }

}  // namespace tau::codec
