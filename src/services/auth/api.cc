#include "services/auth/api.h"

#include <algorithm>
#include <set>

#include "codec/cid.h"

namespace tau::auth {

ProjectId project_id_of(const Genesis& genesis) {
  return ProjectId(
      codec::Cid::of(codec::ContentType::dag_cbor, codec::to_cbor(genesis)).to_string());
}

Status check_label(std::string_view label) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  };
  if (label.empty() || label.size() > 63 || !std::ranges::all_of(label, good) ||
      label.front() == '-' || label.back() == '-' || label.find("--") != std::string_view::npos)
    return fail(ErrorCode::invalid_argument,
                "\"" + std::string(label.substr(0, 80)) +
                    "\" cannot be a host name's label: use 1 to 63 of a-z, 0-9 and single '-', "
                    "starting and ending with a letter or a digit");
  return {};
}

Result<Registration> open_registration(const codec::Signed& registration) {
  // The genesis inside names the key that must have signed; only then is the rest believed.
  TRY(Registration claimed, codec::from_cbor<Registration>(registration.body));
  TRY_STATUS(codec::check_signature(crypto::PublicKey(claimed.genesis.owner),
                                    Registration::kPurpose, registration));
  TRY_STATUS(check_label(claimed.label));
  if (claimed.genesis.name.empty() || claimed.genesis.name.size() > 128)
    return fail(ErrorCode::invalid_argument, "a project's name has 1 to 128 characters");
  if (claimed.repositories.empty() || claimed.repositories.size() > kRepositoriesMax)
    return fail(ErrorCode::invalid_argument, "a project has 1 to 64 repositories");
  std::set<std::string> names;
  for (const auto& repository : claimed.repositories) {
    TRY_STATUS(check_label(repository.name));
    if (!names.insert(repository.name).second)
      return fail(ErrorCode::invalid_argument,
                  "repository \"" + repository.name + "\" is named twice");
    if (repository.kind != RepositoryKind::config && repository.kind != RepositoryKind::code)
      return fail(ErrorCode::invalid_argument,
                  "repository \"" + repository.name + "\" is of no known kind");
    if (repository.provider.empty() || repository.provider.size() > 64)
      return fail(ErrorCode::invalid_argument,
                  "repository \"" + repository.name + "\" names no provider");
  }
  return claimed;
}

}  // namespace tau::auth
