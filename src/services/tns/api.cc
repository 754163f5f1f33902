#include "services/tns/api.h"

#include <algorithm>
#include <set>

#include "crypto/ed25519.h"

namespace tau::tns {
namespace {

constexpr std::size_t kLabelMax = 63;
constexpr std::size_t kHostMax = 253;
constexpr std::size_t kBranchMax = 128;
constexpr std::string_view kPreviewMark = "--";

bool is_plain(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool is_label(std::string_view label) {
  if (label.empty() || label.size() > kLabelMax) return false;
  if (label.front() == '-' || label.back() == '-') return false;
  return std::ranges::all_of(label, [](char c) { return is_plain(c) || c == '-' || c == '_'; });
}

}  // namespace

Status check_host(std::string_view host) {
  const auto refuse = [&](const std::string& why) {
    return fail(ErrorCode::invalid_argument,
                "\"" + std::string(host.substr(0, 80)) + "\" is no host name: " + why);
  };
  if (host.empty()) return refuse("it is empty");
  if (host.size() > kHostMax) return refuse("longer than 253 bytes");
  for (std::string_view rest = host;;) {
    const std::size_t dot = rest.find('.');
    if (!is_label(rest.substr(0, dot)))
      return refuse("each part has 1 to 63 of a-z, 0-9, '-' and '_', and no '-' at either end");
    if (dot == std::string_view::npos) return {};
    rest.remove_prefix(dot + 1);
  }
}

Status check_branch(std::string_view branch) {
  const bool plain = std::ranges::all_of(
      branch, [](char c) { return static_cast<unsigned char>(c) > ' ' && c != 0x7f; });
  if (branch.empty() || branch.size() > kBranchMax || !plain)
    return fail(ErrorCode::invalid_argument,
                "a branch that is deployed has a name of 1 to 128 bytes without spaces");
  return {};
}

std::string preview_label(std::string_view branch) {
  std::string out;
  for (char c : branch) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (is_plain(c)) {
      out.push_back(c);
    } else if (!out.empty() && out.back() != '-') {
      out.push_back('-');
    }
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out;
}

std::optional<std::string> preview_host(std::string_view branch, std::string_view host) {
  std::string label = preview_label(branch);
  const std::size_t own = host.substr(0, host.find('.')).size();
  if (label.empty() || own + kPreviewMark.size() >= kLabelMax) return std::nullopt;
  label.resize(std::min(label.size(), kLabelMax - kPreviewMark.size() - own));
  while (!label.empty() && label.back() == '-') label.pop_back();
  std::string out = label + std::string(kPreviewMark) + std::string(host);
  if (!check_host(out)) return std::nullopt;
  return out;
}

Result<std::vector<std::string>> answered_hosts(std::string_view suffix, std::string_view branch,
                                                const std::vector<std::string>& hosts) {
  std::set<std::string> chosen;
  std::size_t bytes = 0;
  for (const auto& host : hosts) {
    TRY_STATUS(check_host(host));
    const bool under = host.size() > suffix.size() + 1 && host.ends_with(suffix) &&
                       host[host.size() - suffix.size() - 1] == '.';
    if (under && host.find(kPreviewMark) != std::string::npos)
      return fail(ErrorCode::invalid_argument, "host \"" + host + "\": names with \"--\" under " +
                                                   std::string(suffix) +
                                                   " are kept for previews; choose another");
    if (branch == kMainBranch) {
      chosen.insert(host);
      continue;
    }
    // A preview has no place under a custom domain: it answers under the suffix only. Only the name
    // itself is previewed, not what lies below it: its label is where the owner is read from.
    if (!under || host.find('.') + 1 != host.size() - suffix.size()) continue;
    if (auto preview = preview_host(branch, host)) chosen.insert(*std::move(preview));
  }
  for (const auto& host : chosen) bytes += host.size();
  if (chosen.size() > kHostsMax || bytes > kHostsBytesMax)
    return fail(ErrorCode::invalid_argument,
                "a deployment answers at most " + std::to_string(kHostsMax) + " hosts of " +
                    std::to_string(kHostsBytesMax) + " bytes in all; this one has " +
                    std::to_string(chosen.size()) + " of " + std::to_string(bytes));
  return std::vector<std::string>(chosen.begin(), chosen.end());
}

HostsDigest digest_of_hosts(const std::vector<std::string>& answered) {
  return crypto::sha256(codec::to_cbor(answered));
}

std::string_view routed_host(const Pointer& pointer, std::string_view host) {
  if (pointer.branch == kMainBranch) return host;
  const std::size_t mark = host.find(kPreviewMark);
  if (mark == std::string_view::npos || mark > host.find('.')) return host;
  return host.substr(mark + kPreviewMark.size());
}

}  // namespace tau::tns
