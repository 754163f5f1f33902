// Records: structs that name their fields once and are then read and written as DAG-CBOR maps.
//
//   struct TakeJob {
//     JobId job;
//     std::optional<std::string> note;
//     static constexpr auto fields() {
//       return std::tuple{codec::field("job", &TakeJob::job), codec::field("note",
//       &TakeJob::note)};
//     }
//   };
//   Bytes b = codec::to_cbor(job);   Result<TakeJob> j = codec::from_cbor<TakeJob>(b);
//
// Field types: bool, integers, double, std::string, Bytes, Cid, StrongId, enums (as integers),
// std::array<uint8_t, N> (as bytes), std::optional (absent when empty), std::vector,
// std::map<std::string, T>, Value, and other records. Reading: a missing field that is not optional
// is an error that names it. A field that is not known is passed over, so that a newer node may say
// more than an older one understands; what must not be passed over gets a new command or purpose.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "base/strong_id.h"
#include "codec/dag_cbor.h"

namespace tau::codec {

template <class Owner, class T>
struct Field {
  std::string_view name;
  T Owner::* member;
};
template <class Owner, class T>
constexpr Field<Owner, T> field(std::string_view name, T Owner::* member) {
  return {name, member};
}

template <class T>
concept Record = requires { T::fields(); };

namespace detail {

template <class T>
struct Convert;  // Value write(const T&);  Status read(const Value&, T&);

inline std::unexpected<Error> mismatch(std::string_view wanted, const Value& v) {
  return fail(ErrorCode::invalid_argument,
              "expected " + std::string(wanted) + ", found " + std::string(v.type_name()));
}

template <class T>
struct Plain {
  static Value write(const T& v) { return Value(v); }
};
template <>
struct Convert<bool> : Plain<bool> {
  static Status read(const Value& v, bool& out) {
    if (!v.as<bool>()) return mismatch("a boolean", v);
    out = *v.as<bool>();
    return {};
  }
};
template <std::integral T>
struct Convert<T> {
  static Value write(T n) {
    if constexpr (std::is_signed_v<T>) {
      return Value(static_cast<std::int64_t>(n));
    } else {
      return Value::of_unsigned(n);
    }
  }
  static Status read(const Value& v, T& out) {
    if (const auto* n = v.as<std::int64_t>()) {
      if (!std::in_range<T>(*n))
        return fail(ErrorCode::invalid_argument, "integer is out of range");
      out = static_cast<T>(*n);
      return {};
    }
    if (const auto* n = v.as<std::uint64_t>()) {
      if (!std::in_range<T>(*n))
        return fail(ErrorCode::invalid_argument, "integer is out of range");
      out = static_cast<T>(*n);
      return {};
    }
    return mismatch("an integer", v);
  }
};
template <class T>
  requires std::is_enum_v<T>
struct Convert<T> {
  using Number = std::underlying_type_t<T>;
  static Value write(T e) { return Convert<Number>::write(static_cast<Number>(e)); }
  static Status read(const Value& v, T& out) {
    Number n{};
    TRY_STATUS(Convert<Number>::read(v, n));
    out = static_cast<T>(n);  // the reader of a record checks what the numbers mean
    return {};
  }
};
template <class T>
struct Same : Plain<T> {
  static Status read(const Value& v, T& out) {
    if (!v.as<T>()) return mismatch(Value(T{}).type_name(), v);
    out = *v.as<T>();
    return {};
  }
};
template <>
struct Convert<double> : Same<double> {};
template <>
struct Convert<std::string> : Same<std::string> {};
template <>
struct Convert<Bytes> : Same<Bytes> {};
template <>
struct Convert<Cid> : Same<Cid> {};
template <>
struct Convert<Value> {
  static Value write(const Value& v) { return v; }
  static Status read(const Value& v, Value& out) {
    out = v;
    return {};
  }
};
template <class Tag>
struct Convert<StrongId<Tag>> {
  static Value write(const StrongId<Tag>& id) { return Value(id.str()); }
  static Status read(const Value& v, StrongId<Tag>& out) {
    std::string text;
    TRY_STATUS(Convert<std::string>::read(v, text));
    out = StrongId<Tag>(std::move(text));
    return {};
  }
};
template <std::size_t N>
struct Convert<std::array<std::uint8_t, N>> {
  static Value write(const std::array<std::uint8_t, N>& a) {
    return Value(Bytes(a.begin(), a.end()));
  }
  static Status read(const Value& v, std::array<std::uint8_t, N>& out) {
    const auto* b = v.as<Bytes>();
    if (!b) return mismatch("bytes", v);
    if (b->size() != N)
      return fail(ErrorCode::invalid_argument,
                  "expected " + std::to_string(N) + " bytes, found " + std::to_string(b->size()));
    std::copy(b->begin(), b->end(), out.begin());
    return {};
  }
};
template <class T>
struct Convert<std::vector<T>> {
  static Value write(const std::vector<T>& items) {
    Value::List list;
    list.reserve(items.size());
    for (const auto& item : items) list.push_back(Convert<T>::write(item));
    return Value(std::move(list));
  }
  static Status read(const Value& v, std::vector<T>& out) {
    const auto* list = v.as<Value::List>();
    if (!list) return mismatch("a list", v);
    out.clear();
    for (std::size_t i = 0; i < list->size(); ++i) {
      T item{};
      if (auto s = Convert<T>::read((*list)[i], item); !s)
        return fail(std::move(s).error().context("[" + std::to_string(i) + "]"));
      out.push_back(std::move(item));
    }
    return {};
  }
};
template <class T>
struct Convert<std::map<std::string, T>> {
  static Value write(const std::map<std::string, T>& items) {
    Value::Map map;
    for (const auto& [key, item] : items) map.emplace(key, Convert<T>::write(item));
    return Value(std::move(map));
  }
  static Status read(const Value& v, std::map<std::string, T>& out) {
    const auto* map = v.as<Value::Map>();
    if (!map) return mismatch("a map", v);
    out.clear();
    for (const auto& [key, inner] : *map) {
      T item{};
      if (auto s = Convert<T>::read(inner, item); !s)
        return fail(std::move(s).error().context(key));
      out.emplace(key, std::move(item));
    }
    return {};
  }
};
template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

template <Record T>
struct Convert<T> {
  static Value write(const T& record) {
    Value::Map map;
    std::apply([&](const auto&... f) { (write_field(map, record, f), ...); }, T::fields());
    return Value(std::move(map));
  }
  static Status read(const Value& v, T& out) {
    const auto* map = v.as<Value::Map>();
    if (!map) return mismatch("a map", v);
    Status status;
    std::apply(
        [&](const auto&... f) {
          const auto next = [&](const auto& one) {
            if (status) status = read_field(*map, out, one);
          };
          (next(f), ...);
        },
        T::fields());
    return status;
  }

 private:
  template <class F>
  static void write_field(Value::Map& map, const T& record, const Field<T, F>& f) {
    const F& member = record.*(f.member);
    if constexpr (kIsOptional<F>) {
      if (member) map.emplace(f.name, Convert<typename F::value_type>::write(*member));
    } else {
      map.emplace(f.name, Convert<F>::write(member));
    }
  }
  template <class F>
  static Status read_field(const Value::Map& map, T& out, const Field<T, F>& f) {
    const auto it = map.find(f.name);
    F& member = out.*(f.member);
    if (it == map.end()) {
      if constexpr (kIsOptional<F>) {
        member.reset();
        return {};
      } else {
        return fail(ErrorCode::invalid_argument,
                    "field \"" + std::string(f.name) + "\" is missing");
      }
    }
    Status status;
    if constexpr (kIsOptional<F>) {
      status = Convert<typename F::value_type>::read(it->second, member.emplace());
    } else {
      status = Convert<F>::read(it->second, member);
    }
    if (!status) return fail(std::move(status).error().context(f.name));
    return {};
  }
};

}  // namespace detail

template <class T>
Value to_value(const T& item) {
  return detail::Convert<T>::write(item);
}
template <class T>
Result<T> from_value(const Value& value) {
  T out{};
  TRY_STATUS(detail::Convert<T>::read(value, out));
  return out;
}
template <class T>
Bytes to_cbor(const T& item) {
  return encode(to_value(item));
}
template <class T>
Result<T> from_cbor(BytesView data) {
  TRY(const Value value, decode(data));
  return from_value<T>(value);
}

}  // namespace tau::codec
