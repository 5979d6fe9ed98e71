// stl.cpp - what g++ compiles in ci/checks/preload: many instances of the standard containers, so
// that the compiler has to allocate. The program itself is never run.
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

template <int N> struct Key {
  int value[N + 1];
  bool operator<(const Key& other) const {
    return std::lexicographical_compare(value, value + N, other.value, other.value + N);
  }
};

template <int N> std::string describe() {
  std::map<Key<N>, std::vector<std::tuple<int, std::string>>> table;
  std::unordered_map<std::string, std::shared_ptr<std::set<Key<N>>>> index;
  table[Key<N>{}].emplace_back(N, "text");
  index["key"] = std::make_shared<std::set<Key<N>>>();
  std::function<int(int)> add = [](int x) { return x + N; };
  std::ostringstream out;
  out << table.size() << index.size() << add(N);
  return out.str() + describe<N - 1>();
}

template <> std::string describe<0>() { return std::string(); }

bool preload_stl(const std::string& text) {
  return std::regex_match(describe<24>() + text, std::regex("[0-9]+([a-z]*)"));
}
