#include "codec/protobuf.h"

#include <string>

namespace tau::codec {
namespace {

std::unexpected<Error> wrong(std::string what) {
  return fail(ErrorCode::invalid_argument, "protobuf: " + std::move(what));
}

void put_varint(Bytes& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::uint8_t>(value | 0x80));
  out.push_back(static_cast<std::uint8_t>(value));
}

}  // namespace

void ProtobufWriter::head(std::uint32_t field, std::uint32_t wire_type) {
  put_varint(out_, (std::uint64_t{field} << 3) | wire_type);
}

ProtobufWriter& ProtobufWriter::varint(std::uint32_t field, std::uint64_t value) {
  head(field, 0);
  put_varint(out_, value);
  return *this;
}

ProtobufWriter& ProtobufWriter::bytes(std::uint32_t field, BytesView value) {
  head(field, 2);
  put_varint(out_, value.size());
  out_.insert(out_.end(), value.begin(), value.end());
  return *this;
}

Result<std::uint64_t> ProtobufReader::Field::as_varint() const {
  if (kind != Kind::varint) return wrong("field " + std::to_string(number) + " is not a number");
  return value;
}

Result<BytesView> ProtobufReader::Field::as_data() const {
  if (kind != Kind::bytes) return wrong("field " + std::to_string(number) + " is not bytes");
  return data;
}

// Up to 10 bytes: a negative int32 takes them all. Longer than needed is allowed, as the format has
// it.
Result<std::uint64_t> ProtobufReader::raw_varint() {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 10; ++i) {
    if (i == in_.size()) return wrong("data is cut short");
    const std::uint8_t byte = in_[i];
    if (i == 9 && byte > 1) return wrong("number does not fit in 64 bits");
    value |= static_cast<std::uint64_t>(byte & 0x7f) << (7 * i);
    if (byte & 0x80) continue;
    in_ = in_.subspan(i + 1);
    return value;
  }
  return wrong("number is longer than 10 bytes");
}

Result<BytesView> ProtobufReader::raw(std::uint64_t size) {
  if (size > in_.size()) return wrong("a length goes beyond the data");
  const BytesView out = in_.first(size);
  in_ = in_.subspan(size);
  return out;
}

Result<ProtobufReader::Field> ProtobufReader::next() {
  TRY(const auto tag, raw_varint());
  Field field;
  if (tag >> 3 == 0 || tag >> 32 != 0) return wrong("field number is out of range");
  field.number = static_cast<std::uint32_t>(tag >> 3);
  switch (tag & 7) {
    case 0: {
      TRY(field.value, raw_varint());
      return field;
    }
    case 2: {
      field.kind = Kind::bytes;
      TRY(const auto size, raw_varint());
      TRY(field.data, raw(size));
      return field;
    }
    case 1:
    case 5: {
      const bool wide = (tag & 7) == 1;
      field.kind = wide ? Kind::fixed64 : Kind::fixed32;
      TRY(const auto little_endian, raw(wide ? 8 : 4));
      for (std::size_t i = 0; i < little_endian.size(); ++i)
        field.value |= std::uint64_t{little_endian[i]} << (8 * i);
      return field;
    }
    default:
      return wrong("groups and reserved wire types are not read");
  }
}

}  // namespace tau::codec
