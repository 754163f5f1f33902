#include "node/voters.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "node/config.h"
#include "node/network.h"
#include "p2p/certificate.h"

namespace tau::node {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFoundersMax = 9;  // more than five do not vote; the others join later

struct Voter {
  fs::path folder;
  PeerId id;
  bool started = false;
  std::vector<std::string> founders;  // as its configuration names them
};

std::string read_all(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Result<std::vector<Voter>> voting_nodes(const fs::path& network, const VotingService& voting,
                                        const crypto::PublicKey& root, std::int64_t now_unix_ms) {
  std::vector<Voter> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(network, error)) {
    const fs::path file = entry.path() / Options().identity_certificate;
    std::error_code ignored;
    const auto bytes = fs::file_size(file, ignored);
    if (ignored || bytes > p2p::kCertificateSizeMax) continue;
    const p2p::Admission admission(root, {});
    const auto certificate = admission.check_any(as_bytes(read_all(file)), now_unix_ms);
    if (!certificate || !certificate->has_role(voting.service)) continue;
    const auto options = read_config(entry.path() / "config.yaml");
    const bool started = options && fs::exists(options->data / "db", ignored);
    found.push_back({entry.path(), certificate->peer, started,
                     options ? (*options).*voting.founders : std::vector<std::string>()});
  }
  if (error)
    return fail(ErrorCode::unavailable,
                fmt::format("cannot read {}: {}", network.string(), error.message()));
  std::ranges::sort(found, {}, &Voter::id);
  return found;
}

// The line of `consensus: KEY:`, commented or not, replaced. False: there is none.
bool replace_founders(std::string& text, std::string_view key, const std::string& list) {
  const std::string wanted = std::string(key) + ":";
  bool inside = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    if (!line.empty() && line[0] != ' ' && line[0] != '#') inside = line.starts_with("consensus:");
    const auto first = line.find_first_not_of(" #");
    if (inside && first != line.npos && line.compare(first, wanted.size(), wanted) == 0) {
      text.replace(at, end - at, "  " + wanted + " " + list);
      return true;
    }
    at = end + 1;
  }
  return false;
}

Status write_whole(const fs::path& file, const std::string& text) {
  fs::path fresh = file;
  fresh += ".new";
  {
    std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
    out << text;
    if (!out.flush()) return fail(ErrorCode::unavailable, "cannot write " + fresh.string());
  }
  std::error_code error;
  fs::rename(fresh, file, error);
  if (error)
    return fail(ErrorCode::unavailable,
                fmt::format("cannot write {}: {}", file.string(), error.message()));
  return {};
}

// Of networks that were made before network.yaml named them.
std::vector<std::string> founders_of(const std::vector<Voter>& known) {
  std::vector<std::string> founders;
  for (const Voter& one : known) {
    if (one.founders.empty()) {
      founders.push_back(one.id.str());
    } else {
      founders.insert(founders.end(), one.founders.begin(), one.founders.end());
    }
  }
  std::ranges::sort(founders);
  const auto doubles = std::ranges::unique(founders);
  founders.erase(doubles.begin(), doubles.end());
  return founders;
}

Status record_founders(const fs::path& network, std::string_view key, const std::string& list) {
  const fs::path file = network / "network.yaml";
  std::string text = read_all(file);
  if (!replace_founders(text, key, list)) {
    if (!text.empty() && text.back() != '\n') text += '\n';
    const std::string line = fmt::format("  {}: {}\n", key, list);
    const std::string head = "consensus:\n";
    const auto at = text.starts_with(head) ? 0 : text.find("\n" + head);
    if (at == text.npos) {
      text += head + line;
    } else {
      text.insert(text.find(head, at) + head.size(), line);
    }
  }
  return write_whole(file, text);
}

}  // namespace

Result<std::vector<std::string>> founders_with(const fs::path& network, const VotingService& voting,
                                               const std::vector<std::string>& recorded,
                                               const std::string& id, const crypto::PublicKey& root,
                                               std::int64_t now_unix_ms) {
  TRY(auto known, voting_nodes(network, voting, root, now_unix_ms));
  std::erase_if(known, [&](const Voter& one) { return one.id.str() == id; });
  std::vector<std::string> founders = recorded.empty() ? founders_of(known) : recorded;
  // One whose folder is elsewhere may have been started there.
  const bool begun = std::ranges::any_of(founders, [&](const std::string& founder) {
    const auto it =
        std::ranges::find(known, founder, [](const Voter& one) { return one.id.str(); });
    return it == known.end() || it->started;
  });
  if (begun || founders.size() >= kFoundersMax) return founders;
  founders.push_back(id);
  std::ranges::sort(founders);
  std::string list;
  for (const auto& founder : founders) list += (list.empty() ? "[" : ", ") + founder;
  list += "]";
  for (const Voter& one : known) {
    const fs::path file = one.folder / "config.yaml";
    std::string text = read_all(file);
    if (!replace_founders(text, voting.key, list))
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{} has no line for consensus.{} any more; write there: "
                              "consensus: {{{}: {}}}",
                              file.string(), voting.key, voting.key, list));
    TRY_STATUS(write_whole(file, text));
  }
  TRY_STATUS(record_founders(network, voting.key, list));
  return founders;
}

}  // namespace tau::node
