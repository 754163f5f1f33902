#include "bin/tau/new_project.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "codec/base64.h"
#include "project/deployment.h"
#include "project/writer.h"

namespace tau::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kCodeReadme =
    "# Code\n\n"
    "One folder for each function: `functions/<name>/`, with its sources and `.taubyte/`, which\n"
    "says what builds it. `tau new function NAME` makes one, `tau push` sends it to the cloud.\n";

Status check_free(const fs::path& root) {
  std::error_code ec;
  if (fs::exists(root, ec) && !(fs::is_directory(root, ec) && fs::is_empty(root, ec)))
    return fail(ErrorCode::already_exists,
                root.string() +
                    " is already there; choose another name, or another folder with "
                    "--location");
  return {};
}

}  // namespace

Status check_project_name(const std::string& name) {
  if (project::is_variable_name(name)) return {};
  std::string better;
  for (const char c : name) better += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  const bool usable = project::is_variable_name(better);
  return fail(
      ErrorCode::invalid_argument,
      fmt::format("\"{}\" is no project name: use letters, digits and '_', and begin with a "
                  "letter{}",
                  name, usable ? ", such as " + better : ""));
}

std::string label_for(const std::string& name) {
  std::string label;
  for (const char c : name)
    label += c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  while (label.starts_with('-')) label.erase(0, 1);
  label = label.substr(0, 63);
  while (label.ends_with('-')) label.pop_back();
  return label;
}

auth::Registration new_registration(const NewProject& what, const crypto::PublicKey& owner,
                                    Random& random, std::int64_t now_unix_ms) {
  auth::Registration r;
  r.genesis.name = what.name;
  r.genesis.owner = owner.raw();
  random.fill(r.genesis.nonce);
  r.label = what.label;
  r.repositories = {{"config", auth::RepositoryKind::config, "local"},
                    {"code", auth::RepositoryKind::code, "local"}};
  r.made_unix_ms = now_unix_ms;
  return r;
}

Result<ProjectFolder> scaffold_project(Machine& machine, const NewProject& what,
                                       const std::string& id, const std::string& git_base,
                                       Random& random) {
  const fs::path root = fs::absolute(what.location / what.name).lexically_normal();
  TRY_STATUS(check_free(root));
  ProjectFolder folder{root, id, what.name};
  TRY_STATUS(write_new(folder.config() / "config.yaml",
                       project::project_yaml({id, what.name, what.description})));
  TRY_STATUS(write_new(
      folder.config() / "domains" / (what.name + ".yaml"),
      project::domain_yaml({project::new_resource_id(id, what.name, random), "", what.label})));
  TRY_STATUS(write_new(folder.code() / "README.md", kCodeReadme));
  for (const auto& path : {folder.config(), folder.code()}) {
    WorkTree tree(machine, path);
    TRY_STATUS(tree.init());
    if (!git_base.empty())
      TRY_STATUS(tree.set_origin(git_base + "/" + id + "/" + tree.name() + ".git"));
    TRY_STATUS(tree.commit_all("New project " + what.name));
  }
  return folder;
}

Result<Created> create_project(Machine& machine, Cloud& cloud, const NewProject& what,
                               const OwnerKey& owner, Random& random) {
  TRY_STATUS(check_project_name(what.name));
  TRY_STATUS(auth::check_label(what.label));
  TRY_STATUS(check_free(fs::absolute(what.location / what.name)));
  TRY(const auto network, cloud.get("/network"));
  const auto registration =
      new_registration(what, owner.key.public_key(), random, machine.loop.wall_unix_ms());
  const auto record = codec::sign_record(owner.key, registration);
  auto answer =
      cloud.post("/projects", {{"registration", codec::base64_encode(codec::to_cbor(record))}});
  if (!answer) {
    if (answer.error().code() == ErrorCode::already_exists)
      return fail(ErrorCode::already_exists,
                  fmt::format("{}. Choose another first name with --label NAME.",
                              answer.error().message()));
    return fail(answer.error());
  }
  TRY(ProjectFolder folder, scaffold_project(machine, what, registration.project().str(),
                                             network.value("git_base", ""), random));
  return Created{std::move(folder), *std::move(answer)};
}

}  // namespace tau::cli
