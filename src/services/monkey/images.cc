#include "services/monkey/images.h"

#include <algorithm>

namespace tau::monkey {
namespace {

const Language* language_of(std::string_view image) {
  for (const auto* language : languages())
    if (language->image() == image) return language;
  return nullptr;
}

std::string all_names() {
  std::string out;
  for (const auto* language : languages())
    out += (out.empty() ? "" : ", ") + std::string(language->image());
  return out;
}

}  // namespace

Task<Status> Images::probe() {
  CO_TRY_STATUS(machine_.runner.sandbox_available());
  for (const auto* language : languages()) {
    if (found_.contains(language->image())) continue;
    const auto found = co_await look_for(*language);
    if (!found && found.error().code() != ErrorCode::failed_precondition)
      co_return fail(found.error());
  }
  co_return Status{};
}

Task<Result<std::shared_ptr<const Image>>> Images::look_for(const Language& language) {
  const std::string name(language.image());
  auto found = co_await language.find(machine_);
  if (!found) {
    absent_[name] = found.error().message();
    co_return fail(found.error());
  }
  absent_.erase(name);
  found->language = &language;
  if (found->warmth_of.empty()) found->warmth_of = found->toolchain;
  // Another task may have found it meanwhile, and warmed it.
  co_return found_.try_emplace(name, std::make_shared<const Image>(*std::move(found)))
      .first->second;
}

Task<Result<std::shared_ptr<const Image>>> Images::get(std::string name) {
  name.resize(std::min(name.find(':'), name.size()));
  if (const auto it = found_.find(name); it != found_.end()) co_return it->second;
  const Language* language = language_of(name);
  if (!language) co_return fail(ErrorCode::not_found, "use " + all_names());
  co_return co_await look_for(*language);
}

Task<Result<Bytes>> Images::warm_up(std::string name) {
  const Language* language = language_of(name);
  const auto it = found_.find(name);
  if (!language || it == found_.end()) co_return fail(ErrorCode::not_found, name);
  Image image = *it->second;
  co_return co_await language->warm_up(machine_.runner, std::move(image));
}

void Images::use(const std::string& name, std::filesystem::path tar) {
  const auto it = found_.find(name);
  if (it == found_.end()) return;
  auto image = std::make_shared<Image>(*it->second);
  image->warmth = std::make_shared<const Warmth>(image->language->warmth(std::move(tar)));
  it->second = std::move(image);
}

void Images::cool(const std::string& name) {
  const auto it = found_.find(name);
  if (it == found_.end()) return;
  auto image = std::make_shared<Image>(*it->second);
  image->warmth.reset();
  it->second = std::move(image);
}

std::vector<std::shared_ptr<const Image>> Images::present() const {
  std::vector<std::shared_ptr<const Image>> out;
  for (const auto& [name, image] : found_) out.push_back(image);
  return out;
}

std::vector<std::string> Images::absent() const {
  std::vector<std::string> out;
  for (const auto& [name, why] : absent_) out.push_back(why);
  return out;
}

}  // namespace tau::monkey
