// SPDX-License-Identifier: Apache-2.0
#include "node/flow_spool.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "crypto/hash.h"
#include "wire/json.h"
#include "zt/base/bytes.h"
#include "zt/base/decimal.h"

namespace zt::node {

namespace {

constexpr std::size_t kChecksumSize = 16;  // Hex digits.

constexpr std::array<std::pair<SpoolLine::Kind, std::string_view>, 3> kKinds{{
    {SpoolLine::Kind::report, "report"},
    {SpoolLine::Kind::done, "done"},
    {SpoolLine::Kind::open, "open"},
}};

std::string checksum_of(std::string_view text) {
  const Digest digest = crypto::sha256(as_bytes(text));
  return to_hex(std::span(digest.bytes).first(kChecksumSize / 2));
}

std::string_view to_text(SpoolLine::Kind kind) {
  return std::ranges::find(kKinds, kind, [](const auto& entry) { return entry.first; })->second;
}

// cut_word takes what is before the next space off `text`, and the space; nothing if there is none.
std::optional<std::string_view> cut_word(std::string_view& text) {
  const std::size_t size = text.find(' ');
  if (size == std::string_view::npos) return std::nullopt;
  const std::string_view word = text.substr(0, size);
  text.remove_prefix(size + 1);
  return word;
}

// apply lets a line change what is kept; false if it makes no sense.
bool apply(SpoolLine line, KeptFlows& kept) {
  if (line.kind == SpoolLine::Kind::done) {
    kept.waiting.erase(kept.waiting.begin(), kept.waiting.upper_bound(line.number));
    kept.number_last = std::max(kept.number_last, line.number);
    return true;
  }
  const wire::Json event = wire::parse_json_object(line.event);
  if (!event.is_object()) return false;
  const auto flow = wire::text_member(event, "id");
  const auto kind = wire::text_member(event, "event");
  if (!flow || !kind) return false;
  if (*kind == "opened") kept.open.insert_or_assign(std::string(*flow), line.event);
  if (*kind == "closed") kept.open.erase(std::string(*flow));
  if (line.kind == SpoolLine::Kind::report) {
    kept.number_last = std::max(kept.number_last, line.number);
    kept.waiting.insert_or_assign(line.number, std::move(line.event));
  }
  return true;
}

}  // namespace

std::string to_text(const SpoolLine& line) {
  const std::string content = fmt::format("{} {} {}", to_text(line.kind), line.number, line.event);
  return fmt::format("{} {}\n", checksum_of(content), content);
}

std::optional<SpoolLine> parse_spool_line(std::string_view text) {
  const auto checksum = cut_word(text);
  if (!checksum || *checksum != checksum_of(text)) return std::nullopt;
  const auto kind_text = cut_word(text);
  const auto number_text = cut_word(text);
  if (!kind_text || !number_text) return std::nullopt;
  const auto* const kind =
      std::ranges::find(kKinds, *kind_text, [](const auto& entry) { return entry.second; });
  const auto number = parse_decimal(*number_text, SpoolLine::kNumberMax);
  if (kind == kKinds.end() || !number) return std::nullopt;
  return SpoolLine{.kind = kind->first, .number = *number, .event = std::string(text)};
}

KeptFlows recover_flows(std::string_view text) {
  KeptFlows kept;
  while (!text.empty()) {
    const std::size_t size = text.find('\n');
    // What no line feed ends was torn off, even if the checksum holds: the next start may read
    // more.
    auto line =
        size == std::string_view::npos ? std::nullopt : parse_spool_line(text.substr(0, size));
    if (!line || !apply(std::move(*line), kept)) ++kept.damaged_count;
    text.remove_prefix(size == std::string_view::npos ? text.size() : size + 1);
  }
  return kept;
}

}  // namespace zt::node
