#include "project/yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <map>
#include <streambuf>

namespace tau::project {
namespace {

struct Refused {  // thrown out of the parser, caught in parse_yaml
  YAML::Mark mark;
  std::string message;
};

// Builds the tree from the parser's events, so that nothing is expanded before it was judged.
class Builder final : public YAML::EventHandler {
 public:
  Builder(const std::string& file, Problems& problems) : file_(file), problems_(problems) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    add(node(mark, YamlNode::Kind::null));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw Refused{mark, "aliases (*name) are not allowed: write the value out"};
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    const bool quoted = tag == "!";
    const bool null = !quoted && (value.empty() || value == "~" || value == "null");
    YamlNode n = node(mark, null ? YamlNode::Kind::null : YamlNode::Kind::scalar);
    n.text = null ? "" : value;
    n.quoted = quoted;
    add(std::move(n));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::list);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::map);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlNode node;
    std::optional<YamlNode> key;  // of a map: read, its value is awaited
    std::map<std::string, std::uint32_t, std::less<>> lines;
  };

  YamlNode node(const YAML::Mark& mark, YamlNode::Kind kind) {
    if (++count_ > kYamlNodesMax)
      throw Refused{mark, fmt::format("more than {} values in one file", kYamlNodesMax)};
    YamlNode n;
    n.kind = kind;
    n.place = {file_, static_cast<std::uint32_t>(mark.line + 1),
               static_cast<std::uint32_t>(mark.column + 1)};
    return n;
  }
  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor)
      throw Refused{mark, "anchors (&name) are not allowed: write the value out"};
  }
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!")
      throw Refused{mark, "tags (!name) are not allowed: remove it"};
  }
  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            YamlNode::Kind kind) {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    if (static_cast<int>(open_.size()) >= kYamlDepthMax)
      throw Refused{mark, fmt::format("nested deeper than {} levels", kYamlDepthMax)};
    Open o;
    o.node = node(mark, kind);
    open_.push_back(std::move(o));
  }
  void close() {
    YamlNode done = std::move(open_.back().node);
    open_.pop_back();
    add(std::move(done));
  }
  void add(YamlNode value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == YamlNode::Kind::list) {
      parent.node.items.push_back(std::move(value));
      return;
    }
    if (!parent.key) {
      if (value.kind != YamlNode::Kind::scalar)
        problems_.error(value.place,
                        fmt::format("a key must be text, this is {}; quote it", value.kind_name()));
      parent.key = std::move(value);
      return;
    }
    YamlNode key = std::move(*parent.key);
    parent.key.reset();
    if (key.kind != YamlNode::Kind::scalar) return;
    const auto [it, is_new] = parent.lines.emplace(key.text, key.place.line);
    if (!is_new) {
      problems_.error(key.place, fmt::format("\"{}\" is there already, in line {}: remove one",
                                             key.text, it->second));
      return;
    }
    parent.node.entries.push_back({key.text, key.place, std::move(value)});
  }

  const std::string& file_;
  Problems& problems_;
  YamlNode root_;
  std::vector<Open> open_;
  std::size_t count_ = 0;
};

// Reads bytes where they are, without a copy for the stream.
struct ViewBuffer final : std::streambuf {
  explicit ViewBuffer(BytesView bytes) {
    char* begin = const_cast<char*>(reinterpret_cast<const char*>(bytes.data()));
    setg(begin, begin, begin + bytes.size());
  }
};

// The length of the UTF-8 character at the front (RFC 3629); 0 if it is none.
std::size_t utf8_length(BytesView in) {
  const auto follows = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
    return i < in.size() && in[i] >= low && in[i] <= high;
  };
  const unsigned b = in[0];
  if (b < 0x80) return 1;
  if (b >= 0xc2 && b <= 0xdf) return follows(1) ? 2 : 0;
  if (b >= 0xe0 && b <= 0xef) {
    const bool second = follows(1, b == 0xe0 ? 0xa0 : 0x80, b == 0xed ? 0x9f : 0xbf);
    return second && follows(2) ? 3 : 0;
  }
  if (b >= 0xf0 && b <= 0xf4) {
    const bool second = follows(1, b == 0xf0 ? 0x90 : 0x80, b == 0xf4 ? 0x8f : 0xbf);
    return second && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

// The parser would guess an encoding, and take odd bytes for other ones: what a name then is, is
// anybody's guess. Says where the first byte is that no text has.
bool refuse_no_text(const std::string& file, BytesView bytes, Problems& problems) {
  Place place{file, 1, 1};
  while (!bytes.empty()) {
    const std::size_t n = utf8_length(bytes);
    const std::uint8_t b = bytes[0];
    if (n == 0) {
      problems.error(place,
                     fmt::format("the byte 0x{:02x} is no UTF-8: save the file as UTF-8", b));
      return true;
    }
    if ((b < 0x20 && b != '\t' && b != '\n' && b != '\r') || b == 0x7f) {
      problems.error(place,
                     fmt::format("the control character 0x{:02x} is not allowed: remove it", b));
      return true;
    }
    ++place.column;
    if (b == '\n') {
      ++place.line;
      place.column = 1;
    }
    bytes = bytes.subspan(n);
  }
  return false;
}

// The column of the first tab in front of what the line says.
std::optional<std::uint32_t> tab_in_indentation(BytesView bytes, int line) {
  std::string_view text = as_text(bytes);
  for (; line > 0; --line) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find_first_not_of(" \t"));
  const auto tab = text.find('\t');
  if (tab == std::string_view::npos) return std::nullopt;
  return static_cast<std::uint32_t>(tab + 1);
}

std::size_t distance(std::string_view a, std::string_view b) {  // Levenshtein's
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t corner = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, corner + (a[i - 1] == b[j - 1] ? 0 : 1)});
      corner = above;
    }
  }
  return row[b.size()];
}

}  // namespace

const YamlNode::Entry* YamlNode::find(std::string_view key) const {
  const auto it = std::ranges::find(entries, key, &Entry::key);
  return it == entries.end() ? nullptr : &*it;
}

std::string_view YamlNode::kind_name() const {
  switch (kind) {
    case Kind::null:
      return "nothing";
    case Kind::scalar:
      return "a single value";
    case Kind::list:
      return "a list";
    case Kind::map:
      return "a map";
  }
  return "";
}

std::optional<YamlNode> parse_yaml(const std::string& file, BytesView bytes, Problems& problems) {
  if (bytes.size() > kYamlBytesMax) {
    problems.error({file, 0, 0}, fmt::format("larger than {} bytes", kYamlBytesMax));
    return std::nullopt;
  }
  if (refuse_no_text(file, bytes, problems)) return std::nullopt;
  const std::size_t before = problems.errors();
  Builder builder(file, problems);
  const auto complain = [&](const YAML::Mark& mark, const std::string& message) {
    const auto up = [](int n) { return static_cast<std::uint32_t>(std::max(n, 0) + 1); };
    problems.error({file, up(mark.line), up(mark.column)}, message);
  };
  try {
    ViewBuffer buffer(bytes);
    std::istream in(&buffer);
    YAML::Parser parser(in);
    if (!parser.HandleNextDocument(builder)) {
      YamlNode nothing;
      nothing.place = {file, 1, 1};
      return nothing;
    }
    Problems none;
    Builder second(file, none);
    if (parser.HandleNextDocument(second))
      problems.error({file, 0, 0},
                     "more than one document: keep what is before the second \"---\"");
  } catch (const Refused& refused) {
    complain(refused.mark, refused.message);
  } catch (const YAML::Exception& error) {
    if (const auto tab = tab_in_indentation(bytes, error.mark.line)) {
      problems.error({file, static_cast<std::uint32_t>(error.mark.line + 1), *tab},
                     "a tab in the indentation, where YAML has spaces: replace it");
    } else {
      complain(error.mark, "this is no YAML: " + error.msg);
    }
  } catch (const std::exception& error) {
    problems.error({file, 0, 0}, fmt::format("this is no YAML: {}", error.what()));
  }
  if (problems.errors() != before) return std::nullopt;
  return builder.take();
}

YamlReader::YamlReader(const YamlNode& node, std::string what, Problems& problems)
    : node_(&node), place_(node.place), what_(std::move(what)), problems_(&problems) {
  if (node.kind != YamlNode::Kind::map && node.kind != YamlNode::Kind::null)
    problems.error(node.place, fmt::format("{} must be a map (key: value), this is {}", what_,
                                           node.kind_name()));
}

bool YamlReader::has(std::string_view key) {
  const auto* entry = node_->find(key);
  return entry && entry->value.kind != YamlNode::Kind::null;
}

const YamlNode* YamlReader::take(std::string_view key) {
  known_.emplace_back(key);
  const auto* entry = node_->find(key);
  if (!entry || entry->value.kind == YamlNode::Kind::null) return nullptr;
  return &entry->value;
}

Place YamlReader::place_of(std::string_view key) const {
  const auto* entry = node_->find(key);
  if (!entry) return place_;
  return entry->value.kind == YamlNode::Kind::null ? entry->place : entry->value.place;
}

std::optional<std::string> YamlReader::text(std::string_view key) {
  const YamlNode* value = take(key);
  if (!value) return std::nullopt;
  if (value->kind != YamlNode::Kind::scalar) {
    problems_->error(value->place, fmt::format("{}: \"{}\" must be a single value, this is {}",
                                               what_, key, value->kind_name()));
    return std::nullopt;
  }
  return value->text;
}

std::optional<std::string> YamlReader::required_text(std::string_view key, std::string_view why) {
  const std::size_t before = problems_->errors();
  auto value = text(key);
  if (value && value->find_first_not_of(" \t\r\n") != std::string::npos) return value;
  if (problems_->errors() == before)
    problems_->error(place_of(key), fmt::format("{}: \"{}\" is missing: {}", what_, key, why));
  return std::nullopt;
}

std::optional<bool> YamlReader::boolean(std::string_view key) {
  const auto place = place_of(key);
  const auto value = text(key);
  if (!value) return std::nullopt;
  if (*value == "true") return true;
  if (*value == "false") return false;
  problems_->error(place, fmt::format("{}: \"{}\" must be true or false", what_, key));
  return std::nullopt;
}

std::vector<YamlReader::Item> YamlReader::texts(std::string_view key) {
  std::vector<Item> out;
  const YamlNode* value = take(key);
  if (!value) return out;
  if (value->kind != YamlNode::Kind::list) {
    problems_->error(value->place,
                     fmt::format("{}: \"{}\" must be a list, this is {}: write [{}]", what_, key,
                                 value->kind_name(), value->text.empty() ? "…" : value->text));
    return out;
  }
  for (const auto& item : value->items) {
    if (item.kind != YamlNode::Kind::scalar) {
      problems_->error(
          item.place, fmt::format("{}: an item of \"{}\" must be a single value, this is {}", what_,
                                  key, item.kind_name()));
      continue;
    }
    out.push_back({item.text, item.place});
  }
  return out;
}

YamlReader YamlReader::section(std::string_view key) {
  static const YamlNode kNothing;
  const YamlNode* value = take(key);
  YamlReader reader(value ? *value : kNothing, fmt::format("{}: \"{}\"", what_, key), *problems_);
  if (!value) reader.place_ = place_;
  return reader;
}

void YamlReader::ignore(std::string_view key) { known_.emplace_back(key); }

void YamlReader::finish() {
  for (const auto& entry : node_->entries) {
    if (std::ranges::find(known_, entry.key) != known_.end()) continue;
    std::string message =
        fmt::format("{}: \"{}\" is not known here and is ignored", what_, entry.key.substr(0, 64));
    std::string_view nearest;
    std::size_t least = 3;  // two slips of the finger
    for (const auto& known : known_) {
      if (entry.key.size() > 64 || node_->find(known)) continue;
      if (const auto d = distance(entry.key, known); d < least) {
        least = d;
        nearest = known;
      }
    }
    if (!nearest.empty()) message += fmt::format("; did you mean \"{}\"?", nearest);
    problems_->warning(entry.place, std::move(message));
  }
}

}  // namespace tau::project
