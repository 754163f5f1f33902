// Identifiers that the compiler keeps apart: using JobId = StrongId<struct JobIdTag>.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace tau {

template <class Tag>
class StrongId {
 public:
  StrongId() = default;
  explicit StrongId(std::string text) : text_(std::move(text)) {}

  const std::string& str() const { return text_; }
  bool empty() const { return text_.empty(); }

  friend auto operator<=>(const StrongId&, const StrongId&) = default;

 private:
  std::string text_;
};

using PeerId = StrongId<struct PeerIdTag>;        // base58 text of a libp2p peer id, 12D3Koo…
using ProjectId = StrongId<struct ProjectIdTag>;  // text of a CID, see services/auth
using JobId = StrongId<struct JobIdTag>;

}  // namespace tau

template <class Tag>
struct std::hash<tau::StrongId<Tag>> {
  std::size_t operator()(const tau::StrongId<Tag>& id) const noexcept {
    return std::hash<std::string>{}(id.str());
  }
};
