#include "services/monkey/module_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "services/monkey/build_log.h"

namespace tau::monkey {
namespace {

constexpr std::array<std::uint8_t, 8> kHeader = {0, 'a', 's', 'm', 1, 0, 0, 0};
// As many as a module of a few MiB can use; also what the engine's parser takes.
constexpr std::uint32_t kTypesMax = 100'000, kFunctionsMax = 1'000'000, kExportsMax = 100'000;
constexpr std::uint32_t kValuesMax = 1'000;  // parameters or results of one function
constexpr std::uint64_t kPageBytes = 64u << 10;
constexpr std::size_t kNamesMax = 10;  // that one message lists

enum Section : std::uint8_t {
  kCode = 10,
  kTypes = 1,
  kImports = 2,
  kFunctions = 3,
  kMemories = 5,
  kExports = 7
};
enum Kind : std::uint8_t { kFunction = 0, kTable = 1, kMemory = 2, kGlobal = 3, kTag = 4 };

// Reads from the front; after the first thing that is missing or too large, `ok` stays false.
struct Input {
  BytesView left;
  bool ok = true;

  std::uint8_t byte() {
    if (left.empty()) {
      ok = false;
      return 0;
    }
    const std::uint8_t b = left[0];
    left = left.subspan(1);
    return b;
  }
  // Unsigned LEB128 of `bits` bits.
  std::uint64_t number(int bits = 32) {
    std::uint64_t value = 0;
    for (int shift = 0; shift < bits; shift += 7) {
      const std::uint8_t b = byte();
      if (!ok) return 0;
      value |= static_cast<std::uint64_t>(b & 0x7f) << shift;
      if (b < 0x80) {
        if (bits < 64 && value >> bits != 0) ok = false;
        return value;
      }
    }
    ok = false;
    return 0;
  }
  std::uint64_t count(std::uint64_t most) {
    const std::uint64_t n = number();
    if (n > most) ok = false;
    return ok ? n : 0;
  }
  BytesView bytes(std::uint64_t size) {
    if (!ok || left.size() < size) {
      ok = false;
      return {};
    }
    const BytesView out = left.first(size);
    left = left.subspan(size);
    return out;
  }
  std::string name() { return to_text(bytes(number())); }
  // Limits of a memory or table; gives the least size.
  std::uint64_t limits() {
    const std::uint8_t flags = byte();
    const std::uint64_t least = number(64);
    if (flags & 1) (void)number(64);
    return least;
  }
};

std::optional<vm::ValueType> value_type(std::uint8_t code) {
  switch (code) {
    case 0x7f:
      return vm::ValueType::i32;
    case 0x7e:
      return vm::ValueType::i64;
    case 0x7d:
      return vm::ValueType::f32;
    case 0x7c:
      return vm::ValueType::f64;
    default:
      return std::nullopt;
  }
}

using Types = std::vector<std::optional<Signature>>;

// Stops at a form of a later WebAssembly; the types from there on are unknown.
void read_types(Input in, Types& types) {
  const std::uint64_t count = in.count(kTypesMax);
  for (std::uint64_t i = 0; i < count && in.ok; ++i) {
    if (in.byte() != 0x60) return;
    Signature type;
    bool known = true;
    for (auto* list : {&type.parameters, &type.results}) {
      const std::uint64_t values = in.count(kValuesMax);
      for (std::uint64_t v = 0; v < values && in.ok; ++v) {
        const std::uint8_t code = in.byte();
        if (code == 0x63 || code == 0x64) return;  // a reference type of several bytes
        const auto value = value_type(code);
        known = known && value;
        if (value) list->push_back(*value);
      }
    }
    if (in.ok) types.push_back(known ? std::optional(std::move(type)) : std::nullopt);
  }
}

struct Reader {
  WasmOutside out;
  Types types;
  std::vector<std::uint32_t> functions;  // the type of each, imported ones first

  std::optional<Signature> type_of(std::uint64_t function) const {
    if (function >= functions.size() || functions[function] >= types.size()) return std::nullopt;
    return types[functions[function]];
  }
  bool read_imports(Input in) {
    const std::uint64_t count = in.count(kExportsMax);
    for (std::uint64_t i = 0; i < count && in.ok; ++i) {
      WasmImport one{in.name(), in.name(), {}, false};
      switch (in.byte()) {
        case kFunction:
          functions.push_back(static_cast<std::uint32_t>(in.number()));
          one.is_function = true;
          one.type = type_of(functions.size() - 1);
          break;
        case kTable:
          (void)in.byte();
          (void)in.limits();
          break;
        case kMemory:
          (void)in.limits();
          break;
        case kGlobal:
          (void)in.bytes(2);
          break;
        case kTag:
          (void)in.byte();
          (void)in.number();
          break;
        default:
          return false;
      }
      if (in.ok) out.imports.push_back(std::move(one));
    }
    return in.ok;
  }
  bool read_code(Input in) {
    const std::uint64_t count = in.count(kFunctionsMax);
    for (std::uint64_t i = 0; i < count && in.ok; ++i) {
      const BytesView body = in.bytes(in.number());
      out.largest_body_bytes = std::max<std::uint64_t>(out.largest_body_bytes, body.size());
    }
    return in.ok;
  }
  bool read_functions(Input in) {
    const std::uint64_t count = in.count(kFunctionsMax);
    for (std::uint64_t i = 0; i < count && in.ok; ++i)
      functions.push_back(static_cast<std::uint32_t>(in.number()));
    return in.ok;
  }
  bool read_exports(Input in) {
    const std::uint64_t count = in.count(kExportsMax);
    for (std::uint64_t i = 0; i < count && in.ok; ++i) {
      WasmExport one{in.name(), {}};
      const bool function = in.byte() == kFunction;
      const std::uint64_t index = in.number();
      if (!in.ok || !function) continue;
      one.type = type_of(index);
      out.functions.push_back(std::move(one));
    }
    return in.ok;
  }
};

std::string letters(const std::vector<vm::ValueType>& values) {
  std::string out;
  for (const vm::ValueType v : values) {
    if (out.size() > 200) return out + ", …";
    out += out.empty() ? "" : ", ";
    switch (v) {
      case vm::ValueType::i32:
        out += "i32";
        break;
      case vm::ValueType::i64:
        out += "i64";
        break;
      case vm::ValueType::f32:
        out += "f32";
        break;
      case vm::ValueType::f64:
        out += "f64";
        break;
    }
  }
  return out;
}

std::string list_of(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), kNamesMax); ++i)
    out += (i == 0 ? "" : ", ") + harmless(std::string_view(names[i]).substr(0, 200));
  if (names.size() > kNamesMax) out += fmt::format(" and {} more", names.size() - kNamesMax);
  return out.empty() ? "none" : out;
}

// Why this import cannot be had; empty: it can. `absent` gets what is not there at all.
std::string import_trouble(const WasmImport& import, std::span<const vm::HostFunction> offered,
                           std::vector<std::string>& absent) {
  const std::string name = import.module + "." + import.name;
  const auto found = std::ranges::find_if(offered, [&](const vm::HostFunction& f) {
    return f.module == import.module && f.name == import.name;
  });
  if (found == offered.end() || !import.is_function) {
    absent.push_back(name);
    return {};
  }
  Signature type{found->parameters, {}};
  if (found->result) type.results = {*found->result};
  if (!import.type || *import.type == type) return {};
  return fmt::format("the module imports {} as {}, nodes offer {}: build it with a matching SDK",
                     name, import.type->to_string(), type.to_string());
}

}  // namespace

std::string Signature::to_string() const {
  return fmt::format("({}) -> ({})", letters(parameters), letters(results));
}

Result<WasmOutside> read_outside(BytesView module) {
  if (module.size() < kHeader.size() || !std::equal(kHeader.begin(), kHeader.end(), module.begin()))
    return fail(ErrorCode::invalid_argument, "this is no WebAssembly core module");
  Reader reader;
  reader.out.bytes = module.size();
  Input in{module.subspan(kHeader.size())};
  while (!in.left.empty()) {
    const std::uint8_t id = in.byte();
    const Input section{in.bytes(in.number())};
    if (!in.ok) return fail(ErrorCode::invalid_argument, "the module is cut short");
    bool ok = true;
    if (id == kTypes) {
      read_types(section, reader.types);
    } else if (id == kImports) {
      ok = reader.read_imports(section);
    } else if (id == kFunctions) {
      ok = reader.read_functions(section);
    } else if (id == kMemories) {
      Input memories = section;
      if (memories.count(kFunctionsMax) > 0)
        reader.out.memory_bytes = std::min<std::uint64_t>(memories.limits(), 1u << 20) * kPageBytes;
      ok = memories.ok;
    } else if (id == kCode) {
      ok = reader.read_code(section);
    } else if (id == kExports) {
      ok = reader.read_exports(section);
    }
    if (!ok)
      return fail(ErrorCode::invalid_argument,
                  fmt::format("section {} of the module is broken", id));
  }
  return std::move(reader.out);
}

Status check_module(const WasmOutside& module, const std::string& call,
                    std::uint64_t memory_bytes_max, std::span<const vm::HostFunction> offered) {
  std::string errors;
  const auto add = [&errors](const std::string& error) {
    errors += (errors.empty() ? "" : "\n") + error;
  };
  const auto exported = std::ranges::find(module.functions, call, &WasmExport::name);
  if (exported == module.functions.end()) {
    std::vector<std::string> names;
    for (const auto& one : module.functions) names.push_back(one.name);
    add(
        fmt::format("the config says call: {}, but the module exports no such function (it "
                    "exports: {})",
                    call, list_of(names)));
  } else if (exported->type) {
    const Signature& type = *exported->type;
    const std::vector<vm::ValueType> event = {vm::ValueType::i32};
    if (type.parameters != event || (!type.results.empty() && type.results != event))
      add(
          fmt::format("the module exports {} as {}, but a function is called with one i32, the "
                      "event, and gives nothing or an i32",
                      call, type.to_string()));
  }
  std::vector<std::string> absent, other;
  for (const WasmImport& import : module.imports) {
    std::string trouble = import_trouble(import, offered, absent);
    if (!trouble.empty()) other.push_back(std::move(trouble));
  }
  if (!absent.empty())
    add(
        fmt::format("the module imports what no node offers: {}; functions have the calls of the "
                    "SDK and of WASI preview 1",
                    list_of(absent)));
  for (std::size_t i = 0; i < std::min(other.size(), kNamesMax); ++i) add(other[i]);
  if (module.memory_bytes > memory_bytes_max)
    add(
        fmt::format("the module needs {} KiB of memory to begin with, its config gives it {} KiB: "
                    "raise execution.memory",
                    module.memory_bytes >> 10, memory_bytes_max >> 10));
  if (module.bytes > kModuleBytesMax)
    add(
        fmt::format("the module has {} MiB, nodes take at most {} MiB: build it without debug "
                    "information, or leave something out",
                    module.bytes >> 20, kModuleBytesMax >> 20));
  if (module.largest_body_bytes > kFunctionBytesMax)
    add(
        fmt::format("one function of the module has {} KiB of code, nodes compile at most {} KiB: "
                    "split it, or build with fewer inlined functions",
                    module.largest_body_bytes >> 10, kFunctionBytesMax >> 10));
  if (errors.empty()) return {};
  return fail(ErrorCode::failed_precondition, std::move(errors));
}

}  // namespace tau::monkey
