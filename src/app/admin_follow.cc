// SPDX-License-Identifier: Apache-2.0
#include "app/admin_follow.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <ctime>

#include "app/command.h"

namespace zt::app {

namespace {

using wire::Json;

constexpr std::size_t kPageSize = 500;
constexpr std::size_t kCatchUpMax = 20'000;
constexpr timespec kInterval{.tv_sec = 1, .tv_nsec = 0};

std::uint64_t sequence_of(const Json& entry) {
  return wire::integer_member(entry, "sequence").value_or(0);
}

// EndSignals holds SIGINT and SIGTERM back, for wait() to find. The process ends after it.
class EndSignals {
 public:
  EndSignals() {
    ::sigemptyset(&set_);
    ::sigaddset(&set_, SIGINT);
    ::sigaddset(&set_, SIGTERM);
    (void)::pthread_sigmask(SIG_BLOCK, &set_, nullptr);  // It fails for a wrong `how` only.
  }

  // wait returns whether it was told to end before the interval was over.
  [[nodiscard]] bool wait() const { return ::sigtimedwait(&set_, nullptr, &kInterval) > 0; }

 private:
  sigset_t set_{};
};

// news asks for ever more of the log until it meets what is known.
Attempt<Json> news(const AdminSession& session, const FollowedLog& log, std::uint64_t last) {
  for (std::size_t count = kPageSize;; count = std::min(count * 4, kCatchUpMax)) {
    const auto page = session.list(log.path, log.query, count);
    if (!page) return page;
    Json fresh = newer_than(*page, last);
    const bool is_all = fresh.size() < page->size() || page->size() < count;
    if (is_all || count == kCatchUpMax) return fresh;
  }
}

Done print_entries(const AdminSession& session, const FollowedLog& log, const Json& entries,
                   bool is_json) {
  if (entries.empty()) return {};
  const auto names = is_json ? Attempt<Names>() : session.names(log.view.referred);
  if (!names) return std::unexpected(names.error());
  for (const Json& entry : entries) {
    fmt::print("{}\n",
               is_json ? wire::json_text(entry) : line_text(entry, log.view.columns, *names));
  }
  const auto flushed = flush_output();
  if (flushed) return {};
  return failure(ExitCode::failed, flushed.error());
}

}  // namespace

Json newer_than(const Json& page, std::uint64_t last) {
  Json::array_t fresh;
  if (!page.is_array()) return fresh;
  for (const Json& entry : page) {
    if (sequence_of(entry) > last) fresh.push_back(entry);
  }
  std::ranges::sort(fresh, {}, sequence_of);
  return fresh;
}

Done follow(const AdminSession& session, const FollowedLog& log, bool is_json) {
  const EndSignals signals;
  const auto old = session.list(log.path, log.query, log.limit);
  if (!old) return std::unexpected(old.error());
  Json entries = newer_than(*old, 0);
  std::uint64_t last = 0;
  bool is_away = false;
  for (;;) {
    if (Done printed = print_entries(session, log, entries, is_json); !printed) return printed;
    if (!entries.empty()) last = sequence_of(entries.back());
    if (signals.wait()) return {};
    auto fresh = news(session, log, last);
    if (!fresh && fresh.error().code != ExitCode::unreachable) {
      return std::unexpected(fresh.error());
    }
    if (!fresh && !is_away) fmt::print(stderr, "zt: {}; waiting\n", fresh.error().sentence);
    is_away = !fresh;
    entries = fresh ? std::move(*fresh) : Json::array();
  }
}

}  // namespace zt::app
