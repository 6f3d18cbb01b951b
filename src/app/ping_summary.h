// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/ping_summary.h: what the answers of one `zt client ping` add up to.
//
// Theory of operation
//   An answered ping is a flow that opened, however often QUIC had to send for it: a path that
//   loses every tenth packet answers all of them. So the packets are counted, too. The client tells
//   of each connection how many packets it has sent and lost since it began, in its status and in
//   the answer to a ping; this is their growth since the status before the first ping. A connection
//   that was not there has grown from nothing. Packets of other flows on it count as well: they
//   take the same path.
//
//   Lost is what this end sent and QUIC holds for lost (RFC 9002 section 6.1). What is on its way
//   when the last answer comes counts as sent, and the other direction is not seen from here.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "wire/json.h"

namespace zt::app {

class PingSummary {
 public:
  struct Packets {
    std::uint64_t sent = 0;
    std::uint64_t lost = 0;

    friend bool operator==(const Packets&, const Packets&) = default;
  };

  // begin takes the client's status before the first ping.
  void begin(std::string_view status);
  // add takes the answer to a ping and returns it as `--json` shows it: "packets_sent" and
  // "packets_lost" are the growth so far in the place of the connection's totals.
  std::string add(std::string_view answer);

  // packets is the growth so far; nothing if no answer told of a connection.
  [[nodiscard]] std::optional<Packets> packets() const;
  // to_text is "4 of 4 answered, round trip min/avg/max 1.0/1.2/1.5 ms, 2 of 61 packets lost
  // (3.3 %)", without what is not known.
  [[nodiscard]] std::string to_text() const;

 private:
  using Connection = std::uint64_t;
  struct RoundTrips {
    std::uint64_t count = 0;
    double minimum_ms = 0;
    double maximum_ms = 0;
    double sum_ms = 0;
  };

  void note_round_trip(double round_trip_ms);

  std::uint64_t pings_ = 0;
  std::uint64_t answers_ = 0;
  RoundTrips round_trips_;
  std::map<Connection, Packets> before_;
  std::map<Connection, Packets> latest_;  // Of connections that answered.
};

}  // namespace zt::app
