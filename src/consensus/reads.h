// What a read gives, told apart by type: neither converts to the other, and only Group makes them.
//
//   Linearizable<T>: read after everything that had been acknowledged anywhere before it was asked.
//   Stale<T>: what this member knew; `age` says how old that may be.
#pragma once

#include <optional>
#include <utility>

#include "base/time.h"

namespace tau::consensus {

class Group;

template <class T>
class Linearizable {
 public:
  const T& operator*() const& { return value_; }
  T&& operator*() && { return std::move(value_); }
  const T* operator->() const { return &value_; }

 private:
  friend class Group;
  explicit Linearizable(T value) : value_(std::move(value)) {}
  T value_;
};

template <class T>
class Stale {
 public:
  const T& operator*() const& { return value_; }
  T&& operator*() && { return std::move(value_); }
  const T* operator->() const { return &value_; }
  // Whatever was acknowledged longer ago than this, before the read, is in it; messages' time on
  // the wire not counted. Nothing: not known, because no leader was heard since the start.
  std::optional<Duration> age() const { return age_; }

 private:
  friend class Group;
  Stale(T value, std::optional<Duration> age) : value_(std::move(value)), age_(age) {}
  T value_;
  std::optional<Duration> age_;
};

}  // namespace tau::consensus
