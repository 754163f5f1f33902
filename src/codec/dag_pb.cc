#include "codec/dag_pb.h"

#include "codec/protobuf.h"

namespace tau::codec {
namespace {

std::unexpected<Error> wrong(std::string what) {
  return fail(ErrorCode::invalid_argument, "DAG-PB: " + std::move(what));
}

Result<PbLink> decode_link(BytesView bytes) {
  PbLink link;
  std::uint32_t last = 0;
  for (ProtobufReader in(bytes); !in.done();) {
    TRY(const auto field, in.next());
    if (field.number <= last) return wrong("fields of a link are repeated or out of order");
    last = field.number;
    if (field.number == 1) {
      TRY(const auto raw, field.as_data());
      TRY(link.cid, Cid::from_bytes(raw));
    } else if (field.number == 2) {
      TRY(const auto raw, field.as_data());
      link.name = to_text(raw);
    } else if (field.number == 3) {
      TRY(link.total_size, field.as_varint());
    } else {
      return wrong("a link has the unknown field " + std::to_string(field.number));
    }
  }
  if (!link.cid.valid()) return wrong("a link has no CID");
  return link;
}

}  // namespace

Bytes encode_dag_pb(const PbNode& node) {
  ProtobufWriter out;
  for (const auto& link : node.links) {
    ProtobufWriter inner;
    inner.bytes(1, link.cid.to_bytes());
    if (link.name) inner.text(2, *link.name);
    if (link.total_size) inner.varint(3, *link.total_size);
    out.bytes(2, inner.view());
  }
  if (node.data) out.bytes(1, *node.data);
  return out.take();
}

Result<PbNode> decode_dag_pb(BytesView block) {
  PbNode node;
  bool links_ended = false;
  for (ProtobufReader in(block); !in.done();) {
    TRY(const auto field, in.next());
    TRY(const auto data, field.as_data());
    if (field.number == 1) {
      if (node.data) return wrong("data is there twice");
      node.data = to_bytes(data);
      links_ended = !node.links.empty();
    } else if (field.number == 2) {
      if (links_ended) return wrong("links stand on both sides of the data");
      TRY(auto link, decode_link(data));
      node.links.push_back(std::move(link));
    } else {
      return wrong("unknown field " + std::to_string(field.number));
    }
  }
  return node;
}

Bytes encode_unixfs(const UnixFsData& data) {
  ProtobufWriter out;
  out.varint(1, static_cast<std::uint64_t>(data.kind));
  if (data.data) out.bytes(2, *data.data);
  if (data.file_size) out.varint(3, *data.file_size);
  for (const auto size : data.block_sizes) out.varint(4, size);
  return out.take();
}

Result<UnixFsData> decode_unixfs(BytesView bytes) {
  UnixFsData data;
  bool has_kind = false;
  for (ProtobufReader in(bytes); !in.done();) {
    TRY(const auto field, in.next());
    switch (field.number) {
      case 1: {
        TRY(const auto kind, field.as_varint());
        if (kind > 5)
          return fail(ErrorCode::invalid_argument,
                      "UnixFS: node is of the unknown kind " + std::to_string(kind));
        data.kind = static_cast<UnixFsData::Kind>(kind);
        has_kind = true;
        break;
      }
      case 2: {
        TRY(const auto raw, field.as_data());
        data.data = to_bytes(raw);
        break;
      }
      case 3: {
        TRY(data.file_size, field.as_varint());
        break;
      }
      case 4: {
        if (field.kind == ProtobufReader::Kind::varint) {
          data.block_sizes.push_back(field.value);
          break;
        }
        // Packed, as writers of proto3 have it: the bare numbers, one after the other. Reading each
        // as the value of a field needs the field's head in front.
        TRY(auto packed, field.as_data());
        Bytes with_heads;
        for (std::size_t i = 0; i < packed.size(); ++i) {
          if (i == 0 || packed[i - 1] < 0x80) with_heads.push_back(4 << 3);
          with_heads.push_back(packed[i]);
        }
        for (ProtobufReader sizes(with_heads); !sizes.done();) {
          TRY(const auto size, sizes.next());
          data.block_sizes.push_back(size.value);
        }
        break;
      }
      default:
        break;
    }
  }
  if (!has_kind) return fail(ErrorCode::invalid_argument, "UnixFS: node has no kind");
  return data;
}

}  // namespace tau::codec
