// DAG-CBOR (IPLD specification): the deterministic subset of CBOR (RFC 8949) that every record of
// ours is written in. Decoding accepts the deterministic form only, so that one value has one
// encoding and one CID.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/cid.h"

namespace tau::codec {

class Value {
 public:
  // Keys in DAG-CBOR order: shorter first, then bytewise.
  struct KeyOrder {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const {
      return a.size() != b.size() ? a.size() < b.size() : a < b;
    }
  };
  using List = std::vector<Value>;
  using Map = std::map<std::string, Value, KeyOrder>;
  struct Null {
    friend bool operator==(Null, Null) { return true; }
  };
  // Integers: int64_t holds all below 2^63, uint64_t only those above.
  using Variant = std::variant<Null, bool, std::int64_t, std::uint64_t, double, std::string, Bytes,
                               Cid, List, Map>;

  template <class T>
  static constexpr bool is_alternative =
      std::is_same_v<T, Null> || std::is_same_v<T, bool> || std::is_same_v<T, std::int64_t> ||
      std::is_same_v<T, std::uint64_t> || std::is_same_v<T, double> ||
      std::is_same_v<T, std::string> || std::is_same_v<T, Bytes> || std::is_same_v<T, Cid> ||
      std::is_same_v<T, List> || std::is_same_v<T, Map>;

  Value() = default;
  template <class T>
    requires is_alternative<T>
  explicit Value(T v) : v_(std::in_place_type<T>, std::move(v)) {}
  static Value of_unsigned(std::uint64_t n);

  template <class T>
  const T* as() const {
    return std::get_if<T>(&v_);
  }
  template <class T>
  T* as() {
    return std::get_if<T>(&v_);
  }
  std::string_view type_name() const;  // "map", "text", …: for error messages
  const Variant& variant() const { return v_; }

  friend bool operator==(const Value&, const Value&) = default;

 private:
  Variant v_;
};

Bytes encode(const Value& value);

inline constexpr int kCborDepthMax = 64;  // our deepest record has 8
// Errors: invalid_argument with the byte position. Memory is bounded by a small multiple of
// data.size().
Result<Value> decode(BytesView data);

}  // namespace tau::codec
