// YAML of strangers as a small tree in which everything knows its place. No anchors, aliases, tags
// of their own or second documents: a config needs none, and they make small files large.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "project/problems.h"

namespace tau::project {

inline constexpr std::size_t kYamlBytesMax = 1u << 20;
inline constexpr int kYamlDepthMax = 16;              // our deepest document has 5
inline constexpr std::size_t kYamlNodesMax = 50'000;  // about 10 MB in memory

struct YamlNode {
  enum class Kind : std::uint8_t { null, scalar, list, map };
  struct Entry;
  Kind kind = Kind::null;
  Place place;
  std::string text;  // of a scalar
  bool quoted = false;
  std::vector<YamlNode> items;
  std::vector<Entry> entries;  // in the order of the file, keys unique

  const Entry* find(std::string_view key) const;
  std::string_view kind_name() const;  // "a list": for messages
};
struct YamlNode::Entry {
  std::string key;
  Place place;  // of the key
  YamlNode value;
};

// The document of a file; null for an empty one. Nothing when it is broken: then `problems` says
// where.
std::optional<YamlNode> parse_yaml(const std::string& file, BytesView bytes, Problems& problems);

// Reads a map key by key. What was not asked for is reported by finish(), as a warning with the
// nearest known key. Wrong types are errors; each getter then gives nothing.
class YamlReader {
 public:
  // Anything but a map (or nothing at all) is reported here.
  YamlReader(const YamlNode& node, std::string what, Problems& problems);
  YamlReader(YamlNode&&, std::string, Problems&) = delete;  // the node must outlive its reader

  bool has(std::string_view key);
  const YamlNode* take(std::string_view key);  // null when absent or empty
  // Where to complain about a key: its value if it is there, else the map.
  Place place_of(std::string_view key) const;

  std::optional<std::string> text(std::string_view key);
  // Absent or blank is an error that says `why`.
  std::optional<std::string> required_text(std::string_view key, std::string_view why);
  std::optional<bool> boolean(std::string_view key);
  struct Item {
    std::string text;
    Place place;
  };
  std::vector<Item> texts(std::string_view key);
  YamlReader section(std::string_view key);  // empty when absent
  void ignore(std::string_view key);
  void finish();

  const YamlNode& node() const { return *node_; }

 private:
  const YamlNode* node_;
  Place place_;  // of the map, or of what it is missing from
  std::string what_;
  Problems* problems_;
  std::vector<std::string> known_;
};

}  // namespace tau::project
