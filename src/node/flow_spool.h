// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/flow_spool.h: the text in which a node keeps its flow reports over a crash.
//
// Theory of operation
//   The text only grows, until it is replaced by a shorter one that means the same. It consists of
//   lines that stand for themselves:
//
//     <checksum> report <number> <event>   the event waits for the controller
//     <checksum> done <number> {}          all reports up to that number need no more care
//     <checksum> open 0 <event>            a flow is open; its "opened" needs no more care
//
//   Numbers rise from report to report. An event is the API's object, as JSON without line breaks.
//   The checksum is that of everything after it in the line: the first 8 bytes of SHA-256 as hex.
//
//   After a power cut the end of a file may be missing or be anything. A line that is torn or
//   garbled does not agree with its checksum; it is skipped and counted, and the next line feed
//   begins a line again.
//
// Limits   Numbers are at most kNumberMax. How much is kept is the journal's limit.
// Threats  Damage, not malice: who can write the file is the node itself.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace zt::node {

struct SpoolLine {
  enum class Kind : std::uint8_t { report, done, open };
  static constexpr std::uint64_t kNumberMax = std::uint64_t{1} << 53U;

  Kind kind = Kind::report;
  std::uint64_t number = 0;
  std::string event = "{}";

  friend bool operator==(const SpoolLine&, const SpoolLine&) = default;
};

// to_text writes a line with its line feed. `event` has none.
[[nodiscard]] std::string to_text(const SpoolLine& line);

// parse_spool_line reads a line without its line feed; nothing if it is damaged.
[[nodiscard]] std::optional<SpoolLine> parse_spool_line(std::string_view text);

// KeptFlows is what a text of lines means.
struct KeptFlows {
  std::map<std::uint64_t, std::string> waiting;  // Events by number.
  std::map<std::string, std::string> open;       // By the flow's id: the event that opened it.
  std::uint64_t number_last = 0;                 // The highest that was used.
  std::uint64_t damaged_count = 0;               // Lines.

  friend bool operator==(const KeptFlows&, const KeptFlows&) = default;
};

[[nodiscard]] KeptFlows recover_flows(std::string_view text);

}  // namespace zt::node
