// SPDX-License-Identifier: Apache-2.0
#include "app/ping_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace zt::app {

namespace {

using wire::Json;

std::uint64_t count(const Json& object, const char* name) {
  return wire::integer_member(object, name).value_or(0);
}

PingSummary::Packets totals(const Json& connection) {
  return {.sent = count(connection, "packets_sent"), .lost = count(connection, "packets_lost")};
}

}  // namespace

void PingSummary::begin(std::string_view status) {
  const Json object = wire::parse_json_object(status);
  const auto connectors = object.find("connectors");
  if (connectors == object.end()) return;
  for (const Json& connector : *connectors) {
    if (const auto key = wire::integer_member(connector, "connection")) {
      before_[*key] = totals(connector);
    }
  }
}

std::string PingSummary::add(std::string_view answer) {
  Json object = wire::parse_json_object(answer);
  ++pings_;
  if (!wire::boolean_member(object, "ok").value_or(false)) return std::string(answer);
  ++answers_;
  const auto round_trip = object.find("round_trip_ms");
  if (round_trip != object.end() && round_trip->is_number()) {
    note_round_trip(round_trip->get<double>());
  }
  const auto key = wire::integer_member(object, "connection");
  if (!key) return std::string(answer);
  latest_[*key] = totals(object);
  const Packets so_far = packets().value_or(Packets{});
  object.erase("connection");
  object["packets_sent"] = so_far.sent;
  object["packets_lost"] = so_far.lost;
  return wire::json_text(object);
}

void PingSummary::note_round_trip(double round_trip_ms) {
  RoundTrips& seen = round_trips_;
  seen.minimum_ms = seen.count == 0 ? round_trip_ms : std::min(seen.minimum_ms, round_trip_ms);
  seen.maximum_ms = std::max(seen.maximum_ms, round_trip_ms);
  seen.sum_ms += round_trip_ms;
  ++seen.count;
}

std::optional<PingSummary::Packets> PingSummary::packets() const {
  if (latest_.empty()) return std::nullopt;
  Packets sum;
  for (const auto& [key, latest] : latest_) {
    const auto found = before_.find(key);
    const Packets before = found == before_.end() ? Packets{} : found->second;
    sum.sent += latest.sent - std::min(latest.sent, before.sent);
    sum.lost += latest.lost - std::min(latest.lost, before.lost);
  }
  // A loss that is noticed may be of a packet from before.
  return Packets{.sent = sum.sent, .lost = std::min(sum.lost, sum.sent)};
}

std::string PingSummary::to_text() const {
  std::string text = fmt::format("{} of {} answered", answers_, pings_);
  const auto out = std::back_inserter(text);
  if (round_trips_.count > 0) {
    fmt::format_to(out, ", round trip min/avg/max {:.1f}/{:.1f}/{:.1f} ms", round_trips_.minimum_ms,
                   round_trips_.sum_ms / static_cast<double>(round_trips_.count),
                   round_trips_.maximum_ms);
  }
  const auto counted = packets();
  if (counted && counted->sent > 0) {
    fmt::format_to(out, ", {} of {} packets lost ({:.1f} %)", counted->lost, counted->sent,
                   100.0 * static_cast<double>(counted->lost) / static_cast<double>(counted->sent));
  }
  return text;
}

}  // namespace zt::app
