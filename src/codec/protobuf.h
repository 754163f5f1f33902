// Protocol buffers, fields only: what DAG-PB, UnixFS and bitswap are written in. Spec:
// protobuf.dev/programming-guides/encoding.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace tau::codec {

// Appends fields in the order of the calls.
class ProtobufWriter {
 public:
  ProtobufWriter& varint(std::uint32_t field, std::uint64_t value);
  ProtobufWriter& bytes(std::uint32_t field, BytesView value);
  ProtobufWriter& text(std::uint32_t field, std::string_view value) {
    return bytes(field, as_bytes(value));
  }
  std::size_t size() const { return out_.size(); }
  const Bytes& view() const { return out_; }
  Bytes take() { return std::move(out_); }

 private:
  void head(std::uint32_t field, std::uint32_t wire_type);
  Bytes out_;
};

// Reads fields from memory of a stranger; allocates nothing, never reads past the end.
class ProtobufReader {
 public:
  enum class Kind : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };
  struct Field {
    std::uint32_t number = 0;
    Kind kind = Kind::varint;
    std::uint64_t value = 0;  // of varint, fixed32 and fixed64
    BytesView data;           // of bytes; points into what is read

    Result<std::uint64_t> as_varint() const;  // invalid_argument when it is of another kind
    Result<BytesView> as_data() const;
  };

  explicit ProtobufReader(BytesView data) : in_(data) {}
  bool done() const { return in_.empty(); }
  // Errors: invalid_argument (cut short, groups, field number 0 or above 2^29).
  Result<Field> next();

 private:
  Result<std::uint64_t> raw_varint();
  Result<BytesView> raw(std::uint64_t size);
  BytesView in_;
};

}  // namespace tau::codec
