// SPDX-License-Identifier: Apache-2.0
#pragma once
// relay/dispatch.h: from what the socket received to where it goes, without looking inside.
//
// Theory of operation
//   One receive gives equal segments of one source (UDP_GRO). They are split into runs of
//   neighbours with one route and one header form; a run is looked up once and leaves as one send
//   (UDP_SEGMENT). A run goes
//     to the relay's own QUIC endpoint, if its route is the relay's own, or if it has a long header
//     and a route that nobody holds: a stranger who wants to connect;
//     through the forwarding table otherwise, which may drop it.
//   Nothing is kept between calls.
// Cost: a few loads for each segment, two lookups for each run.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "zt/base/bytes.h"
#include "zt/base/ids.h"
#include "zt/base/ip.h"
#include "zt/base/time.h"
#include "zt/relay/engine.h"
#include "zt/relay/replica.h"
#include "zt/wire/quic_packet.h"

namespace zt::relay {

// Run is neighbouring segments that go to one place. `bytes` borrows from the receive buffer.
struct Run {
  std::optional<RouteId> route;  // Nothing: no QUIC packet that could be routed.
  bool has_long_header = false;
  BytesView bytes;
  std::size_t segment_size = 0;  // Of each but the last, which may be shorter.

  [[nodiscard]] Volume volume() const {
    return {.datagrams = (bytes.size() + segment_size - 1) / segment_size, .bytes = bytes.size()};
  }
};

// for_each_run calls `function(run)` for each run of `datagrams`, in order. `segment_size` is above
// zero.
template <class Function>
void for_each_run(BytesView datagrams, std::size_t segment_size, Function function) {
  const auto read = [&](std::size_t at) {
    const BytesView segment = datagrams.subspan(at, std::min(segment_size, datagrams.size() - at));
    return Run{.route = wire::route_of(segment),
               .has_long_header = wire::has_long_header(segment),
               .bytes = segment,
               .segment_size = segment_size};
  };
  std::size_t begin = 0;
  while (begin < datagrams.size()) {
    Run run = read(begin);
    std::size_t end = begin + run.bytes.size();
    while (end < datagrams.size()) {
      const Run next = read(end);
      if (next.route != run.route || next.has_long_header != run.has_long_header) break;
      end += next.bytes.size();
    }
    run.bytes = datagrams.subspan(begin, end - begin);
    function(run);
    begin = end;
  }
}

// Verdict is where a run goes.
struct Verdict {
  enum class Place : std::uint8_t {
    forward,  // To `target`, untouched.
    own,      // To the relay's own QUIC endpoint.
    drop,     // Nowhere; it is counted.
  };
  Place place = Place::drop;
  SocketAddress target;

  friend bool operator==(const Verdict&, const Verdict&) = default;
};

// dispatch decides about a run that came from `source`; `own_route` is the relay's own.
[[nodiscard]] Verdict dispatch(Engine& engine, const RouteId& own_route,
                               const SocketAddress& source, const Run& run, Instant now);
// This one decides by a replica, of which `epoch` is the feed's. While that is out of date, a
// stranger who wants to connect still reaches the relay.
[[nodiscard]] Verdict dispatch(Replica& replica, Epoch epoch, const RouteId& own_route,
                               const SocketAddress& source, const Run& run, Instant now);

}  // namespace zt::relay
