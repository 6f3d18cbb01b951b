// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/mapped_port.h: has the gateway map the node's UDP port, while that is of use.
//
// Theory of operation
//   A mapping is of use behind a NAT, and that there is one is what observers see: another address
//   than the machine has (path/nat_verdict.h). Nothing is asked before a relay has said so, and a
//   mapping is kept when relays have nothing to say for a while; it goes when a relay sees the
//   machine as it is, and when the machine is elsewhere.
//
//   The requests to the gateway (path/port_mapping.h) leave from the node's own port, and what
//   comes from the gateway's port for them is taken before anything looks for QUIC in it.
//
// Shape: a part of node/link.h. What UPnP-IGD needs is left to the shell.
// Limits   requests_queued_max wait for the socket; more are lost, as datagrams may be.
// Threats  Those of path/port_mapping.h. A peer cannot be at the gateway's port: we would not hear
//          it. A relay that lies about what it sees makes us ask for a mapping, or give one up.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "node/notice.h"
#include "quic/endpoint.h"
#include "zt/base/ids.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/path/nat_verdict.h"
#include "zt/path/port_mapping.h"

namespace zt::node {

// MappingNeed is whether a mapping is asked for, and if not, why.
enum class MappingNeed : std::uint8_t {
  off,         // It is not wanted.
  no_gateway,  // No gateway on the way out: none could be asked.
  unknown,     // No relay has told yet whether there is a NAT.
  no_nat,      // Peers reach the machine as it is.
  needed,
};
[[nodiscard]] std::string_view to_text(MappingNeed need);  // A word for programs.
[[nodiscard]] std::string_view explain(MappingNeed need);  // A clause for people.

class MappedPort {
 public:
  struct Config {
    bool is_wanted = true;
    Digest nonce_key;  // Secret: nonces are made of it, so that a restart does not change them.
    path::PortMapper::Limits mapper;
    std::size_t requests_queued_max = 16;
  };

  // MappingChanged: external() is another one.
  using Event = std::variant<path::UpnpWanted, path::UpnpUnwanted, path::MappingChanged, Notice>;

  // `random` outlives the object.
  MappedPort(const Config& config, Random& random);
  MappedPort(const MappedPort&) = delete;
  MappedPort& operator=(const MappedPort&) = delete;
  ~MappedPort() = default;

  // set_place says what could be mapped, and what is known of the NAT before it.
  void set_place(const std::optional<path::MappingPlace>& place, path::NatMapping nat,
                 const Now& now);
  // handle returns whether the datagrams are the gateway's, and for nobody else.
  bool handle(const quic::ReceivedDatagrams& datagrams, const Now& now);
  void upnp_answered(const path::UpnpAnswer& answer, const Now& now);
  void handle_timeout(const Now& now);
  // leave gives the mapping up for good, and returns whether something had to be done for it. What
  // is to be sent for it comes by poll_transmit(); what UPnP-IGD has made is the shell's to delete.
  bool leave(const Now& now);

  [[nodiscard]] std::optional<quic::Transmit> poll_transmit(std::span<std::byte> buffer);
  [[nodiscard]] std::optional<Event> poll_event();
  [[nodiscard]] std::optional<Instant> next_deadline() const { return mapper_.next_deadline(); }

  [[nodiscard]] path::MappingStatus status() const { return mapper_.status(); }
  [[nodiscard]] MappingNeed need() const { return need_; }
  [[nodiscard]] std::optional<SocketAddress> external() const;

 private:
  // Told is what people know.
  struct Told {
    std::optional<SocketAddress> external;
    std::optional<path::MappingFailure> failure;

    friend bool operator==(const Told&, const Told&) = default;
  };

  [[nodiscard]] wire::MappingNonce nonce_of(const path::MappingPlace& place) const;
  void take_outputs();
  void note_change();

  Config config_;
  path::PortMapper mapper_;
  std::optional<path::MappingPlace> natted_;  // Where a relay has seen that there is a NAT.
  MappingNeed need_;
  Told told_;
  std::deque<path::SendToGateway> requests_;
  std::deque<Event> events_;
};

}  // namespace zt::node
