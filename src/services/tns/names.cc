#include "services/tns/names.h"

#include <algorithm>
#include <set>

namespace tau::tns {
namespace {

constexpr std::string_view kPreviewMark = "--";

// What shows that a pointer may stand where the push with this proof stood once.
Bytes proof_after(const Bytes& push, const std::optional<p2p::NodeSigned>& rollback) {
  if (!rollback) return {};
  Proof proof;
  if (const auto kept = codec::from_cbor<Proof>(push)) proof = *kept;
  proof.rollback = rollback;
  return codec::to_cbor(proof);
}

NamesAnswer refusal(const Error& error) {
  NamesAnswer answer;
  answer.code = static_cast<std::uint64_t>(error.code());
  answer.message = error.message();
  return answer;
}

// What each takes in a snapshot, about.
std::size_t size_of(const std::string& name) { return name.size() + 80; }
std::size_t size_of(const Pointer& pointer) {
  std::size_t bytes = 400 + pointer.holders.size() * 56;
  for (const auto& host : pointer.hosts) bytes += host.size() + 3;
  return bytes;
}

struct SavedName {
  std::string name;
  ProjectId project;
  static constexpr auto fields() {
    return std::tuple{codec::field("name", &SavedName::name),
                      codec::field("project", &SavedName::project)};
  }
};
struct SavedPast {
  std::uint64_t number = 0;
  Pointer pointer;
  std::optional<Bytes> proof = std::nullopt;
  static constexpr auto fields() {
    return std::tuple{codec::field("number", &SavedPast::number),
                      codec::field("pointer", &SavedPast::pointer),
                      codec::field("proof", &SavedPast::proof)};
  }
};
// Version 3 has proofs, 2 has history; earlier ones are read as without.
constexpr std::uint64_t kSnapshotVersion = 3;
struct Saved {
  std::uint64_t version = kSnapshotVersion;
  std::vector<SavedName> names;
  std::vector<Pointer> pointers;
  std::optional<std::vector<SavedPast>> history;  // in the order of their numbers
  std::optional<std::vector<Bytes>> proofs;       // of the pointers, in their order; empty: none
  static constexpr auto fields() {
    return std::tuple{
        codec::field("version", &Saved::version), codec::field("names", &Saved::names),
        codec::field("pointers", &Saved::pointers), codec::field("history", &Saved::history),
        codec::field("proofs", &Saved::proofs)};
  }
};

}  // namespace

Status NamesAnswer::status() const {
  if (code == 0) return {};
  return fail(error_code_from(code).value_or(ErrorCode::unknown), message);
}

bool NameRules::under_suffix(std::string_view host) const {
  return host.size() > suffix_.size() + 1 && host.ends_with(suffix_) &&
         host[host.size() - suffix_.size() - 1] == '.';
}

std::string NameRules::name_of_label(std::string_view label) const {
  return std::string(label) + "." + suffix_;
}

Result<std::string> NameRules::name_of(std::string_view host) const {
  TRY_STATUS(check_host(host));
  if (host == suffix_)
    return fail(ErrorCode::invalid_argument, "\"" + suffix_ + "\" itself is the network's");
  if (!under_suffix(host)) {
    const auto top = host.substr(host.rfind('.') + 1);
    if (top.size() == host.size() || (top[0] >= '0' && top[0] <= '9'))
      return fail(ErrorCode::invalid_argument,
                  "\"" + std::string(host) + "\" is no fully qualified domain name");
    return std::string(host);
  }
  std::string_view label = host.substr(0, host.size() - suffix_.size() - 1);
  if (const auto dot = label.rfind('.'); dot != std::string_view::npos)
    label.remove_prefix(dot + 1);
  if (const auto mark = label.find(kPreviewMark); mark != std::string_view::npos)
    label.remove_prefix(mark + kPreviewMark.size());
  if (label.empty() || label.find(kPreviewMark) != std::string_view::npos)
    return fail(ErrorCode::invalid_argument,
                "\"" + std::string(host) + "\": a name has \"--\" once, between branch and label");
  if (label == kNetworkLabel)
    return fail(ErrorCode::invalid_argument, "\"" + std::string(host) + "\": what is under \"" +
                                                 name_of_label(label) +
                                                 "\" is kept for the network's own names");
  return name_of_label(label);
}

Result<MovePointer> NameRules::hosts_for(std::string_view branch,
                                         const std::vector<std::string>& hosts) const {
  TRY(auto answered, answered_hosts(suffix_, branch, hosts));
  MovePointer move;
  for (const auto& host : answered) {
    TRY(auto name, name_of(host));
    move.names.push_back(std::move(name));
  }
  move.pointer.hosts = std::move(answered);
  return move;
}

// A name is where its hosts end: "hello.x" of "api.hello.x" and of "dev--hello.x".
void MovePointer::shorten() {
  std::vector<std::uint32_t> at;
  for (std::size_t i = 0; i < names.size(); ++i)
    at.push_back(static_cast<std::uint32_t>(pointer.hosts[i].size() - names[i].size()));
  name_at = std::move(at);
  names.clear();
}

Status MovePointer::expand() {
  if (!name_at) return {};
  if (name_at->size() != pointer.hosts.size() || !names.empty())
    return fail(ErrorCode::invalid_argument, "a pointer with other names than hosts");
  for (std::size_t i = 0; i < name_at->size(); ++i) {
    if ((*name_at)[i] >= pointer.hosts[i].size())
      return fail(ErrorCode::invalid_argument, "a host without a name");
    names.push_back(pointer.hosts[i].substr((*name_at)[i]));
  }
  name_at.reset();
  return {};
}

Bytes Names::apply(BytesView command) {
  auto decoded = codec::from_cbor<NamesCommand>(command);
  if (!decoded) return codec::to_cbor(refusal(decoded.error()));
  if (decoded->claim) return codec::to_cbor(apply(*decoded->claim));
  if (decoded->move) return codec::to_cbor(apply(*std::move(decoded->move)));
  if (decoded->back) return codec::to_cbor(apply(*decoded->back));
  if (decoded->claims) return codec::to_cbor(apply(*decoded->claims));
  return codec::to_cbor(refusal(Error(ErrorCode::invalid_argument, "an empty command")));
}

// Whether all `names` are the project's, or free and within the bounds.
Status Names::may_own(const ProjectId& project, const std::vector<std::string>& names) const {
  std::set<std::string_view> fresh;
  for (const auto& name : names) {
    const auto it = names_.find(name);
    if (it == names_.end()) {
      fresh.insert(name);
    } else if (it->second != project) {
      return fail(ErrorCode::already_exists, "the name \"" + name +
                                                 "\" belongs to another project (" +
                                                 it->second.str() + "); choose another");
    }
  }
  const auto count = name_counts_.find(project);
  const std::size_t mine = count == name_counts_.end() ? 0 : count->second;
  if (!fresh.empty() && mine + fresh.size() > limits_.names_of_project)
    return fail(ErrorCode::resource_exhausted,
                "a project has at most " + std::to_string(kNamesOfProjectMax) + " names");
  if (!fresh.empty() && (names_.size() + fresh.size() > limits_.names || bytes_ > limits_.bytes))
    return fail(ErrorCode::resource_exhausted, "the registry has no room for further names");
  return {};
}

bool Names::own(const ProjectId& project, const std::string& name) {
  if (!names_.emplace(name, project).second) return false;
  ++name_counts_[project];
  bytes_ += size_of(name);
  return true;
}

NamesAnswer Names::apply(const ClaimName& claim) {
  if (auto s = check_host(claim.name); !s) return refusal(s.error());
  if (auto s = may_own(claim.project, {claim.name}); !s) return refusal(s.error());
  NamesAnswer answer;
  answer.moved = own(claim.project, claim.name);
  return answer;
}

Names::Limits Names::Limits::of(std::size_t shards) {
  if (shards <= 1) return {kNamesMax, kPointersMax, kBytesMax, kNamesOfProjectMax};
  return {kNamesMax / 2, kPointersMax / 2, kBytesMax / 2,
          std::max<std::size_t>(2 * kNamesOfProjectMax / shards, 50)};
}

std::optional<ProjectId> Names::owner_of(std::string_view name) const {
  const auto it = names_.find(name);
  return it == names_.end() ? std::nullopt : std::optional(it->second);
}

NamesAnswer Names::apply(const ClaimNames& claims) {
  for (const auto& name : claims.names)
    if (auto s = check_host(name); !s) return refusal(s.error());
  if (claims.project.empty()) return refusal(Error(ErrorCode::invalid_argument, "no project"));
  if (auto s = may_own(claims.project, claims.names); !s) return refusal(s.error());
  NamesAnswer answer;
  for (const auto& name : claims.names) answer.moved |= own(claims.project, name);
  return answer;
}

Status Names::comes_too_late(const Pointer& to) const {
  const auto from = pointers_.find({to.project, to.branch});
  if (from == pointers_.end()) return {};
  const Pointer& now = from->second.pointer;
  if (to.seq == now.seq && to.version() < now.version())
    return fail(ErrorCode::failed_precondition,
                "push " + std::to_string(to.seq) + " of branch " + to.branch +
                    " was published under lease " + std::to_string(now.version().second) +
                    "; what was built under lease " + std::to_string(to.version().second) +
                    " comes too late");
  if (to.seq < now.seq || (to.version() == now.version() && to.deployment != now.deployment))
    return fail(ErrorCode::failed_precondition,
                "branch " + to.branch + " stands at push " + std::to_string(now.seq) +
                    " already; push " + std::to_string(to.seq) + " does not replace it");
  return {};
}

Status Names::may_move(const MovePointer& move) const {
  const Pointer& to = move.pointer;
  const bool claimed = move.claimed.value_or(false);
  if (to.project.empty() || !to.deployment.valid() ||
      move.names.size() != (claimed ? 0 : to.hosts.size()))
    return fail(ErrorCode::invalid_argument, "a pointer without project, deployment or names");
  TRY_STATUS(check_branch(to.branch));
  TRY_STATUS(comes_too_late(to));
  const auto from = pointers_.find({to.project, to.branch});
  if (from != pointers_.end()) {
    // Askers would not believe it.
    if (to.version() != from->second.pointer.version() && !from->second.proof.empty() &&
        !move.proof)
      return fail(ErrorCode::failed_precondition,
                  "what branch " + to.branch +
                      " serves now has a proof, and this comes without: the monkey that built it "
                      "is of an earlier version");
  } else {
    const auto count = pointer_counts_.find(to.project);
    if (count != pointer_counts_.end() && count->second >= kPointersOfProjectMax)
      return fail(
          ErrorCode::resource_exhausted,
          "a project has at most " + std::to_string(kPointersOfProjectMax) + " deployed branches");
    if (pointers_.size() >= limits_.pointers)
      return fail(ErrorCode::resource_exhausted, "this network's pointers are used up");
  }
  if (move.proof && move.proof->size() > kProofBytesMax)
    return fail(ErrorCode::invalid_argument, "a proof that is too large");
  return may_own(to.project, move.names);
}

// Whether there is room, and no host of it answers for something else.
Status Names::may_answer(const Standing& standing) const {
  if (bytes_ + standing.size() > limits_.bytes)
    return fail(ErrorCode::resource_exhausted, "this network's room for pointers is used up");
  const Pointer& to = standing.pointer;
  for (const auto& host : to.hosts) {
    TRY_STATUS(check_host(host));
    const auto it = hosts_.find(host);
    if (it == hosts_.end() || it->second == Key{to.project, to.branch}) continue;
    return fail(ErrorCode::already_exists,
                it->second.first == to.project
                    ? "host \"" + host + "\" answers for branch " + it->second.second + " already"
                    : "host \"" + host + "\" belongs to another project");
  }
  return {};
}

NamesAnswer Names::apply(MovePointer move) {
  if (auto s = move.expand(); !s) return refusal(s.error());
  if (auto s = may_move(move); !s) return refusal(s.error());
  Standing to{std::move(move.pointer), std::move(move.proof).value_or(Bytes())};
  if (auto s = may_answer(to); !s) return refusal(s.error());
  const auto it = pointers_.find({to.pointer.project, to.pointer.branch});
  if (it != pointers_.end() && it->second.pointer.version() == to.pointer.version()) {
    NamesAnswer answer;
    answer.pointer = it->second.pointer;  // published before: the answer got lost
    return answer;
  }
  for (const auto& name : move.names) own(to.pointer.project, name);
  return put(std::move(to));
}

Result<Names::Standing> Names::target_of(const MoveBack& back, const Pointer& now) const {
  if (back.from_seq != now.seq || back.seq <= now.seq)
    return fail(ErrorCode::failed_precondition, "branch " + back.branch + " stands at " +
                                                    std::to_string(now.seq) + " by now, not at " +
                                                    std::to_string(back.from_seq) +
                                                    ": look at its history and order it again");
  const auto shelf = history_.find({back.project, back.branch});
  if (shelf != history_.end()) {
    const auto& versions = shelf->second.versions;
    for (auto past = versions.rbegin(); past != versions.rend(); ++past)
      if (past->was.pointer.seq == back.to_seq && past->was.pointer.deployment == back.deployment)
        return past->was;
  }
  return fail(ErrorCode::not_found,
              "version " + std::to_string(back.to_seq) + " of branch " + back.branch +
                  " with this deployment is not kept; the last " + std::to_string(kHistoryMax) +
                  " are, as far as there is room");
}

// The names of its hosts are the project's already: names are for good.
NamesAnswer Names::apply(const MoveBack& back) {
  NamesAnswer answer;
  const auto it = pointers_.find({back.project, back.branch});
  if (it == pointers_.end())
    return refusal(Error(ErrorCode::not_found, "branch " + back.branch + " of project " +
                                                   back.project.str() + " has no deployment"));
  const Pointer& now = it->second.pointer;
  if (now.seq == back.seq && now.deployment == back.deployment) {
    answer.pointer = now;  // moved before: the answer got lost
    return answer;
  }
  auto target = target_of(back, now);
  if (!target) return refusal(target.error());
  Pointer& to = target->pointer;
  to.push = to.pushed_seq();
  to.seq = back.seq;
  to.fence.reset();
  to.moved_unix_ms = back.moved_unix_ms;
  target->proof = proof_after(target->proof, back.rollback);
  if (auto s = may_answer(*target); !s) return refusal(s.error());
  return put(*std::move(target));
}

void Names::forget_oldest(const Key& key) {
  const auto shelf = history_.find(key);
  const Past& oldest = shelf->second.versions.front();
  const std::size_t bytes = oldest.was.size();
  kept_.erase(oldest.number);
  history_bytes_ -= bytes;
  shelf->second.bytes -= bytes;
  shelf->second.versions.pop_front();
  if (shelf->second.versions.empty()) history_.erase(shelf);
}

std::size_t Names::Standing::size() const { return size_of(pointer) + proof.size(); }

void Names::keep_as(std::uint64_t number, const Key& key, Standing old) {
  const std::size_t bytes = old.size();
  Shelf& shelf = history_[key];
  kept_.emplace(number, key);
  history_bytes_ += bytes;
  shelf.bytes += bytes;
  shelf.versions.push_back({number, std::move(old)});
}

void Names::keep(const Key& key, Standing old) {
  keep_as(next_number_++, key, std::move(old));
  for (auto shelf = history_.find(key);
       shelf != history_.end() && (shelf->second.versions.size() > kHistoryMax ||
                                   shelf->second.bytes > kHistoryBytesOfPointerMax);
       shelf = history_.find(key))
    forget_oldest(key);
  while (history_bytes_ > kHistoryBytesMax) forget_oldest(Key(kept_.begin()->second));
}

NamesAnswer Names::put(Standing to) {
  const Key key{to.pointer.project, to.pointer.branch};
  NamesAnswer answer;
  auto it = pointers_.find(key);
  if (it == pointers_.end()) {
    it = pointers_.emplace(key, Standing{}).first;
    ++pointer_counts_[key.first];
  } else {
    bytes_ -= it->second.size();
    keep(key, it->second);
  }
  const auto& hosts = to.pointer.hosts;
  for (const auto& host : it->second.pointer.hosts) {
    if (std::ranges::find(hosts, host) != hosts.end()) continue;
    hosts_.erase(host);
    answer.gone.push_back(host);
  }
  for (const auto& host : hosts) hosts_[host] = key;
  bytes_ += to.size();
  answer.pointer = to.pointer;
  it->second = std::move(to);
  answer.moved = true;
  return answer;
}

std::optional<Names::Owner> Names::owner_of(const NameRules& rules, std::string_view host) const {
  if (const auto it = hosts_.find(host); it != hosts_.end())
    return Owner{it->second.first, it->second.second};
  const auto name = rules.name_of(host);
  if (!name) return std::nullopt;
  // Below a claimed name, and previews that are not there, nobody answers.
  const auto it = names_.find(host);
  if (it == names_.end() || *name != host) return std::nullopt;
  return Owner{it->second, std::string(kMainBranch)};
}

namespace {

std::size_t page_of(std::uint64_t limit) {
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(limit, 1, kListedMax));
}

}  // namespace

ListNames::Response Names::list(const ListNames::Request& request) const {
  ListNames::Response page;
  auto it = request.after < request.prefix ? names_.lower_bound(request.prefix)
                                           : names_.upper_bound(request.after);
  const std::size_t most = page_of(request.limit);
  std::string last;
  for (std::size_t seen = 0; it != names_.end() && it->first.starts_with(request.prefix); ++it) {
    if (page.found.size() == most || seen++ == kLookedThroughMax) {
      page.next = last;
      break;
    }
    last = it->first;
    if (last.ends_with(request.suffix)) page.found.push_back({last, it->second});
  }
  return page;
}

ListPointers::Response Names::list(const ListPointers::Request& request) const {
  ListPointers::Response page;
  const Key from{request.project, std::max(request.after, request.prefix)};
  auto it =
      request.after < request.prefix ? pointers_.lower_bound(from) : pointers_.upper_bound(from);
  for (; it != pointers_.end() && it->first.first == request.project; ++it) {
    const Pointer& pointer = it->second.pointer;
    if (!pointer.branch.starts_with(request.prefix)) break;
    if (page.found.size() == page_of(request.limit)) {
      page.next = page.found.back().branch;
      break;
    }
    ListPointers::Standing one{pointer.branch,       pointer.seq, pointer.deployment,
                               pointer.hosts.size(), {},          pointer.moved_unix_ms};
    if (!pointer.hosts.empty()) one.host = pointer.hosts.front();
    page.found.push_back(std::move(one));
  }
  return page;
}

const Pointer* Names::find(std::string_view host) const {
  const auto it = hosts_.find(host);
  if (it == hosts_.end()) return nullptr;
  return &pointers_.at(it->second).pointer;
}

const Pointer* Names::find(const ProjectId& project, const std::string& branch) const {
  const auto it = pointers_.find({project, branch});
  return it == pointers_.end() ? nullptr : &it->second.pointer;
}

const Bytes* Names::proof_of(const ProjectId& project, const std::string& branch) const {
  const auto it = pointers_.find({project, branch});
  return it == pointers_.end() || it->second.proof.empty() ? nullptr : &it->second.proof;
}

std::vector<Version> Names::history(const ProjectId& project, const std::string& branch) const {
  std::vector<Version> versions;
  const auto add = [&](const Pointer& p, bool serves) {
    versions.push_back({p.seq, p.pushed_seq(), p.deployment, p.moved_unix_ms, serves});
  };
  const Pointer* now = find(project, branch);
  if (!now) return versions;
  add(*now, true);
  if (const auto shelf = history_.find({project, branch}); shelf != history_.end())
    for (auto past = shelf->second.versions.rbegin(); past != shelf->second.versions.rend(); ++past)
      add(past->was.pointer, false);
  return versions;
}

Bytes Names::snapshot() const {
  Saved saved;
  for (const auto& [name, project] : names_) saved.names.push_back({name, project});
  saved.proofs.emplace();
  for (const auto& [key, standing] : pointers_) {
    saved.pointers.push_back(standing.pointer);
    saved.proofs->push_back(standing.proof);
  }
  saved.history.emplace();
  std::map<Key, std::size_t> next;
  for (const auto& [number, key] : kept_) {
    const Standing& was = history_.at(key).versions[next[key]++].was;
    SavedPast past{number, was.pointer};
    if (!was.proof.empty()) past.proof = was.proof;
    saved.history->push_back(std::move(past));
  }
  return codec::to_cbor(saved);
}

Status Names::restore(BytesView snapshot) {
  auto saved = codec::from_cbor<Saved>(snapshot);
  if (!saved) return fail(std::move(saved).error().context("snapshot of the names"));
  if (saved->version == 0 || saved->version > kSnapshotVersion)
    return fail(ErrorCode::data_loss, "a newer program wrote this snapshot of the names (version " +
                                          std::to_string(saved->version) + ")");
  clear();
  for (const auto& [name, project] : saved->names) own(project, name);
  const bool with_proofs = saved->proofs.has_value();
  if (with_proofs && saved->proofs->size() != saved->pointers.size())
    return fail(ErrorCode::data_loss, "snapshot of the names: its proofs are not its pointers'");
  for (std::size_t i = 0; i < saved->pointers.size(); ++i) {
    Standing standing{std::move(saved->pointers[i]), {}};
    if (with_proofs) standing.proof = std::move((*saved->proofs)[i]);
    const Key key{standing.pointer.project, standing.pointer.branch};
    for (const auto& host : standing.pointer.hosts) hosts_[host] = key;
    ++pointer_counts_[key.first];
    bytes_ += standing.size();
    pointers_[key] = std::move(standing);
  }
  for (auto& past : saved->history.value_or(std::vector<SavedPast>())) {
    if (past.number < next_number_)
      return fail(ErrorCode::data_loss, "snapshot of the names: its history is out of order");
    next_number_ = past.number + 1;
    const Key key{past.pointer.project, past.pointer.branch};
    keep_as(past.number, key,
            Standing{std::move(past.pointer), std::move(past.proof).value_or(Bytes())});
  }
  return {};
}

}  // namespace tau::tns
