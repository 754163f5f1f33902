#include "project/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "codec/cid.h"

namespace tau::project {
namespace {

std::string flow_list(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const auto& item : items) out += (out.size() > 1 ? ", " : "") + yaml_scalar(item);
  return out + "]";
}

std::string description_line(const std::string& description) {
  return description.empty() ? "" : "description: " + yaml_scalar(description) + "\n";
}

}  // namespace

std::string new_resource_id(std::string_view project, std::string_view name, Random& random) {
  std::array<std::uint8_t, 32> chance;
  random.fill(chance);
  Bytes seed = to_bytes(project);
  seed.push_back(0);
  seed.insert(seed.end(), name.begin(), name.end());
  seed.push_back(0);
  seed.insert(seed.end(), chance.begin(), chance.end());
  return codec::Cid::of(codec::ContentType::raw, seed).to_string();
}

std::string yaml_scalar(std::string_view text) {
  const auto harmless = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '/' || c == '.' || c == '-' || c == ' ';
  };
  const bool plain = !text.empty() && text != "~" && text != "null" && text != "true" &&
                     text != "false" && text[0] != '-' && text[0] != ' ' && text.back() != ' ' &&
                     !(text[0] >= '0' && text[0] <= '9') && std::ranges::all_of(text, harmless);
  if (plain) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string project_yaml(const NewProject& p) {
  return fmt::format(
      "# The project. Functions are in functions/, domains in domains/; a file's name is the "
      "resource's name.\n"
      "id: {}\nname: {}\n{}",
      p.id, yaml_scalar(p.name), description_line(p.description));
}

std::string application_yaml(const NewApplication& a) {
  return fmt::format("id: {}\n{}", a.id, description_line(a.description));
}

std::string domain_yaml(const NewDomain& d) {
  return fmt::format(
      "id: {}\n{}"
      "# One label: <label>.<network>. The first project to claim it keeps it.\n"
      "fqdn: {}\n",
      d.id, description_line(d.description), yaml_scalar(d.fqdn));
}

std::string function_yaml(const NewFunction& f) {
  return fmt::format(
      "id: {}\n{}"
      "trigger:\n"
      "  type: http\n"
      "  method: {}\n"
      "  paths: {}      # exact\n"
      "  domains: {}      # names of files in domains/\n"
      "source: .               # the code repository, in the folder of this name\n"
      "execution:\n"
      "  timeout: {}\n"
      "  memory: {}\n"
      "  call: {}            # what the module exports\n",
      f.id, description_line(f.description), yaml_scalar(f.method), flow_list(f.paths),
      flow_list(f.domains), f.timeout, f.memory, yaml_scalar(f.call));
}

std::string workflow_yaml(std::string_view image, const std::vector<std::string>& steps) {
  return fmt::format(
      "# What builds this function: the steps run in order, <step>.sh in this folder, in a sandbox "
      "without network.\n"
      "version: 1.00\n"
      "environment:\n"
      "  image: {}\n"
      "workflow: {}\n",
      yaml_scalar(image), flow_list(steps));
}

}  // namespace tau::project
