// What a usual function of some size pulls in: about 150 KB of wasm, names included.
#include <tau/http.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace {

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find(' ', at), text.size());
    out.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

// The same work on another type each time, as the many structures of a larger program are.
template <int N>
struct Record {
  std::string name;
  std::map<std::string, Record> parts;
  std::vector<Record> list;
  double weight = N;
  int count = 0;
};

template <int N>
double weigh(const Record<N>& record) {
  double sum = record.weight * N;
  for (const auto& [name, part] : record.parts)
    sum += weigh(part) + static_cast<double>(name.size());
  for (const auto& item : record.list) sum += weigh(item);
  return sum;
}

template <int N>
double work(const std::vector<std::string>& all) {
  Record<N> root;
  for (const auto& word : all) {
    Record<N>& part = root.parts[word];
    part.name = word;
    ++part.count;
    root.list.push_back(part);
  }
  std::sort(root.list.begin(), root.list.end(),
            [](const auto& a, const auto& b) { return a.count + N > b.count; });
  root.list.erase(root.list.begin());
  return weigh(root);
}

template <int... N>
double work_all(const std::vector<std::string>& all, std::integer_sequence<int, N...>) {
  return (work<N>(all) + ...);
}

}  // namespace

TAU_HTTP_FUNCTION(ping) {
  const auto all = words("the quick brown fox jumps over the lazy dog the end");
  std::map<std::string, int> counts;
  std::unordered_map<std::string, std::set<std::size_t>> places;
  for (std::size_t i = 0; i < all.size(); ++i) {
    ++counts[all[i]];
    places[all[i]].insert(i);
  }
  std::vector<std::pair<int, std::string>> order;
  for (const auto& [word, count] : counts) order.emplace_back(count, word);
  std::stable_sort(order.rbegin(), order.rend());
  std::deque<double> values;
  std::mt19937_64 generator(42);
  std::normal_distribution<double> normal(1, 2);
  for (int i = 0; i < 20; ++i) values.push_back(normal(generator));
  std::sort(values.begin(), values.end(), std::greater<>());
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  const auto path = (std::filesystem::path("/a/b/../c") / order.front().second).lexically_normal();
  char line[200];
  std::snprintf(line, sizeof line, "pong %s %d %.3f %s", path.c_str(), order.front().first,
                std::strtod("3.25", nullptr) + std::sin(sum) * std::pow(sum, 2.0) * 0 +
                    work_all(all, std::make_integer_sequence<int, 4>()),
                "\n");
  event.write(line);
}
