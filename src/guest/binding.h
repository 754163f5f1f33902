// From a typed C++ function to an entry of the engine's table of host functions. The parameters'
// types say how a cell is read and which WebAssembly type it has; addresses are checked when they
// are used, in Call.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "guest/context.h"
#include "guest/errors.h"
#include "vm/engine.h"

namespace tau::guest {

static_assert(std::endian::native == std::endian::little, "guest memory is little-endian");

using U32 = std::uint32_t;
using I64 = std::int64_t;
using EventId = std::uint32_t;
// Addresses in the guest's memory, as hostile as any other number of the guest.
struct Ptr {
  std::uint32_t at;
};
struct InBytes : Ptr {};
struct OutBytes : Ptr {};
struct OutU32 : Ptr {};

struct Call {
  std::span<std::uint8_t> memory;
  Context& context;
  vm::HostOutcome outcome = vm::HostOutcome::returned;
  std::uint64_t exit_code = 0;

  bool holds(Ptr p, std::uint64_t size) const { return p.at + size <= memory.size(); }
  // Zero bytes are legal at any address: Go passes 0 for them, Rust whatever it has.
  std::optional<std::string_view> text(Ptr p, U32 size) const {
    if (size == 0) return std::string_view();
    if (!holds(p, size)) return std::nullopt;
    return std::string_view(reinterpret_cast<const char*>(memory.data()) + p.at, size);
  }
  bool store(Ptr p, std::string_view bytes) {
    if (bytes.empty()) return true;
    if (!holds(p, bytes.size())) return false;
    std::memcpy(memory.data() + p.at, bytes.data(), bytes.size());
    return true;
  }
  template <class T>
    requires std::is_integral_v<T>
  bool store_number(Ptr p, T value) {
    if (!holds(p, sizeof value)) return false;
    std::memcpy(memory.data() + p.at, &value, sizeof value);
    return true;
  }
  template <class T>
    requires std::is_integral_v<T>
  std::optional<T> load_number(Ptr p) const {
    if (!holds(p, sizeof(T))) return std::nullopt;
    T value;
    std::memcpy(&value, memory.data() + p.at, sizeof value);
    return value;
  }
};

namespace detail {

template <class T>
T from_cell(std::uint64_t cell) {
  if constexpr (std::is_base_of_v<Ptr, T>) {
    T pointer;
    pointer.at = static_cast<std::uint32_t>(cell);
    return pointer;
  } else {
    return static_cast<T>(cell);
  }
}

template <class T>
constexpr vm::ValueType value_type() {
  return sizeof(T) == 8 ? vm::ValueType::i64 : vm::ValueType::i32;
}

template <class R, class... A>
std::optional<vm::ValueType> result_type(R (*)(Call&, A...)) {
  if constexpr (std::is_void_v<R>) {
    return std::nullopt;
  } else {
    return value_type<R>();
  }
}

template <class R, class... A>
std::vector<vm::ValueType> parameter_types(R (*)(Call&, A...)) {
  return {value_type<A>()...};
}

template <auto F>
struct Binding;

template <class R, class... A, R (*F)(Call&, A...)>
struct Binding<F> {
  static vm::HostOutcome invoke(vm::HostCall& host, const std::uint64_t* cells,
                                std::uint64_t* result) {
    Call call{host.memory, *static_cast<Context*>(host.context)};
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      if constexpr (std::is_void_v<R>) {
        F(call, from_cell<A>(cells[I])...);
        *result = call.exit_code;
      } else {
        *result = static_cast<std::uint64_t>(F(call, from_cell<A>(cells[I])...));
      }
    }(std::index_sequence_for<A...>{});
    return call.outcome;
  }
};

}  // namespace detail

template <auto F>
vm::HostFunction bind(std::string_view module, std::string_view name) {
  return {std::string(module), std::string(name), detail::parameter_types(F),
          detail::result_type(F), &detail::Binding<F>::invoke};
}

}  // namespace tau::guest
