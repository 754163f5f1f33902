#include "bin/tau/trace.h"

#include <fmt/format.h>

#include <charconv>

#include "services/seer/dns_client.h"

namespace tau::cli {
namespace {

struct Step {
  std::string name;
  double microseconds = 0;
  std::string note;
};

// One metric of a Server-Timing header (W3C Server Timing): name;dur=1.5;desc="text".
Step step_of(std::string_view metric) {
  Step step;
  const auto trimmed = [](std::string_view s) {
    while (s.starts_with(' ')) s.remove_prefix(1);
    while (s.ends_with(' ')) s.remove_suffix(1);
    return s;
  };
  for (bool first = true; !metric.empty(); first = false) {
    const auto end = std::min(metric.find(';'), metric.size());
    const std::string_view part = trimmed(metric.substr(0, end));
    metric.remove_prefix(std::min(end + 1, metric.size()));
    if (first) {
      step.name = std::string(part);
    } else if (part.starts_with("dur=")) {
      double milliseconds = 0;
      std::from_chars(part.data() + 4, part.data() + part.size(), milliseconds);
      step.microseconds = milliseconds * 1000;
    } else if (part.starts_with("desc=\"") && part.ends_with('"')) {
      step.note = std::string(part.substr(6, part.size() - 7));
    }
  }
  return step;
}

std::vector<Step> steps_of(std::string_view header) {
  std::vector<Step> steps;
  while (!header.empty()) {
    std::size_t end = 0;  // commas inside quotes belong to a description
    for (bool quoted = false; end < header.size() && (quoted || header[end] != ','); ++end)
      quoted ^= header[end] == '"';
    steps.push_back(step_of(header.substr(0, end)));
    header.remove_prefix(std::min(end + 1, header.size()));
  }
  return steps;
}

}  // namespace

Status trace_request(runtime::RealLoop& loop, Cloud& cloud, const Terminal& terminal,
                     const std::string& url) {
  TRY(const http::Url target, http::Url::parse(url));
  const std::string name = target.host.substr(0, target.host.rfind(':'));
  TRY(const http::Json network, cloud.get("/network"));
  const std::string dns = network.value("dns", "");
  if (dns.empty())
    return fail(ErrorCode::unavailable,
                "no seer of this cloud answers; `tau status` shows its nodes");
  TRY(const net::Endpoint seer, net::Endpoint::parse(dns));
  net::Sockets sockets(loop);

  TimePoint began = loop.now();
  TRY(const auto found,
      runtime::block_on(loop, seer::dns::resolve(sockets, seer, name, seer::dns::Type::a)));
  const auto microseconds = [&] {
    return static_cast<double>((loop.now() - began).count()) / 1000;
  };
  std::vector<Step> steps = {{"dns", microseconds(), "seer at " + dns}};
  if (found.addresses.empty())
    return fail(ErrorCode::not_found,
                found.rcode == seer::dns::Rcode::name_error
                    ? "nobody has claimed " + name + "; `tau query projects` lists the names"
                    : "no live substrate answers for " + name);
  const net::Endpoint at{found.addresses.front(), target.endpoint.port};
  http::ClientRequest request;
  request.target = target.target;
  request.host = target.host;
  request.headers.add("tau-trace", "1");
  began = loop.now();
  TRY(const http::Response response,
      runtime::block_on(loop, http::Client(sockets).send(at, std::move(request))));
  const double whole = microseconds();
  double inside = 0;
  for (auto& step : steps_of(response.headers.get("server-timing"))) {
    if (step.name == "total") {
      inside = step.microseconds;
    } else {
      steps.push_back(std::move(step));
    }
  }
  if (inside > 0) steps.push_back({"socket", whole - inside, "to " + at.to_string() + " and back"});

  http::Json shown = http::Json::array();
  std::vector<std::vector<std::string>> rows = {{"STEP", "µs", ""}};
  double sum = 0;
  for (const auto& step : steps) {
    sum += step.microseconds;
    shown.push_back(
        {{"name", step.name}, {"microseconds", step.microseconds}, {"note", step.note}});
    rows.push_back({clean(step.name), fmt::format("{:.0f}", step.microseconds), clean(step.note)});
  }
  rows.push_back({"together", fmt::format("{:.0f}", sum), ""});
  terminal.say(table(rows));
  terminal.say(fmt::format("{} {}", response.status, clean(response.body.substr(0, 400))));
  terminal.result({{"status", response.status},
                   {"body", response.body},
                   {"served_by", at.to_string()},
                   {"steps", shown}});
  if (response.status >= 500)
    return fail(ErrorCode::failed_precondition, "the answer is an error; `tau logs` shows why");
  return {};
}

}  // namespace tau::cli
