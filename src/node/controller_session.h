// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/controller_session.h: a node's standing relation to its controller.
//
// Theory of operation
//   The session goes round one circle for ever: look the controller's name up, connect with the pin
//   of its key, be admitted (once), open the watch stream, stay. Whatever breaks, it waits by
//   Backoff and starts the circle again; only a refusal that a repetition cannot mend ends it
//   (Refused).
//
//     waiting → looking_up → connecting → [admitting] → opening → up
//        ↑__________________________________________________|
//
//   Being admitted: a connector or relay presents its enrolment secret, a client its service key.
//   From then on the certificate of the connection is the identity, and the secret is wiped.
//
//   What travels to the controller does so by UDP, or over a TCP link where UDP is blocked
//   (node/carrier.h).
//
//   The watch stream also tells where the controller sees us, at once when that changes.
//
// Limits   One connection; http::Calls::Limits for requests. Addresses of a name: addresses_max.
// Threats  A wrong controller: the pin is checked by TLS before the secret is sent. A flood of
// nodes that
//          come back at once: the waits are drawn at random.

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "http/call.h"
#include "node/backoff.h"
#include "node/carrier.h"
#include "node/tcp_links.h"
#include "node/watch_message.h"
#include "quic/endpoint.h"
#include "zt/base/host.h"
#include "zt/base/ids.h"
#include "zt/base/random.h"
#include "zt/base/secret.h"
#include "zt/base/time.h"

namespace zt::node {

// The ways to be admitted.
struct Enrolment {  // A connector or relay that nobody knows yet.
  Secret secret;
  std::string kind;     // "connector" or "relay".
  std::string name;     // As people call it; may be empty.
  std::string address;  // A relay's public "host:port"; else empty.
};
struct ServiceSignIn {  // A client with a service account's key.
  KeyId key;
  Secret secret;
  std::string device_name;
  std::string device_os;
};
struct KnownIdentity {};  // The controller knows our certificate already.
using Credential = std::variant<Enrolment, ServiceSignIn, KnownIdentity>;

// Admission is what the controller tells a node that it admits.
struct Admission {
  TenantId tenant;
  std::string node;          // "con_…", "rly_…"; empty for a client.
  NetworkId network;         // For a connector.
  SubjectId subject;         // For a client.
  std::string subject_name;  // For a client.
  DeviceId device;           // For a client.
  std::string jwks;          // The tenant's keys as JSON text.
};

struct LookupWanted {  // Resolve `name` and call lookup_done().
  DnsName name;
};
struct Admitted {
  Admission admission;
};
struct Refused {  // A repetition cannot mend it; the session has stopped.
  int status = 0;
  std::string detail;
};
struct SessionUp {};
struct SessionDown {  // Connected or not, the try failed; the next one starts after `wait`.
  std::string reason;
  Duration wait{};
};
struct Told {
  WatchMessage message;
};
struct HeartbeatDue {};   // Send one with call().
struct SeenElsewhere {};  // observed() is another one.
struct CallAnswered {
  http::CallKey call{};
  int status = 0;
  std::string body;
};
struct CallFailed {
  http::CallKey call{};
  http::CallError error{};
};
using SessionEvent = std::variant<LookupWanted, Admitted, Refused, SessionUp, SessionDown, Told,
                                  HeartbeatDue, SeenElsewhere, CallAnswered, CallFailed>;

class ControllerSession {
 public:
  struct Config {
    Authority controller;
    Digest pin;           // SHA-256 of the controller's public key (SPKI).
    std::string version;  // Of this program, for the controller's list of nodes.
    Duration attempt_timeout = std::chrono::seconds(4);  // Of one address.
    Duration heartbeat_interval = std::chrono::seconds(15);
    std::size_t addresses_max = 8;
    Backoff::Limits backoff;
    Carrier::Limits carrier;
    http::Calls::Limits calls;
  };

  // `endpoint`, `links` and `random` outlive the session.
  ControllerSession(Config config, Credential credential, quic::Endpoint& endpoint, TcpLinks& links,
                    Random& random);
  ControllerSession(const ControllerSession&) = delete;
  ControllerSession& operator=(const ControllerSession&) = delete;

  // start begins the circle. Call it once.
  void start(const Now& now);
  // lookup_done answers LookupWanted; no addresses means that the lookup failed.
  void lookup_done(const std::vector<IpAddress>& addresses, const Now& now);
  // link_opened and link_closed return whether the link was for the controller.
  bool link_opened(const SocketAddress& link, const SocketAddress& remote, const Now& now);
  bool link_closed(const SocketAddress& link, std::string_view reason, const Now& now);
  // handle takes an event of the endpoint and returns whether nobody else needs it.
  bool handle(const quic::Event& event, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<SessionEvent> poll_event();
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  // call sends a JSON request to `path`; nothing if the session is not up.
  [[nodiscard]] std::optional<http::CallKey> call(std::string_view method, std::string_view path,
                                                  std::string body, const Now& now);
  // restart_watch asks for a snapshot again, because what we hold does not fit what arrived.
  void restart_watch(const Now& now);
  // set_refused says whether what the watch stream brought last was refused: it may be of our
  // future or past, and the clocks may be right later. The watch is then restarted after a
  // heartbeat's interval, and so on until something is taken.
  void set_refused(bool is_refused, const Now& now);
  // network_changed says that our packets leave from other addresses: a connection goes on from
  // there, and a wait ends.
  void network_changed(const Now& now);

  [[nodiscard]] bool is_up() const { return state_ == State::up; }
  // is_over_tcp tells whether datagrams to the controller go over a link.
  [[nodiscard]] bool is_over_tcp() const { return carrier_.is_on_link(); }
  [[nodiscard]] const Authority& controller() const { return config_.controller; }
  // down_reason says why the last try failed; empty before that.
  [[nodiscard]] const std::string& down_reason() const { return down_reason_; }
  // heard_at returns when a datagram of the controller came last; nothing unless the session is up.
  [[nodiscard]] std::optional<Instant> heard_at() const;
  // remote and round_trip tell of the connection, while there is one.
  [[nodiscard]] std::optional<SocketAddress> remote() const;
  [[nodiscard]] std::optional<Duration> round_trip() const;
  // observed returns our address as the controller saw it by UDP last; nothing over a link.
  [[nodiscard]] std::optional<SocketAddress> observed() const;

 private:
  enum class State : std::uint8_t {
    idle,
    waiting,
    looking_up,
    connecting,
    admitting,
    opening,
    up,
    stopped
  };

  void look_up(const Now& now);
  void connect_next(const Now& now);
  void connect(const SocketAddress& remote, const Now& now);
  void take_changes(const Now& now);
  void take_change(const Carrier::Change& change, const Now& now);
  [[nodiscard]] std::string server_name() const;
  [[nodiscard]] quic::PeerPin pin() const;
  void admit(const Now& now);
  void open_watch(const Now& now);
  void lose(std::string reason, const Now& now);
  void stop(int status, std::string detail);
  void take_calls(const Now& now);
  void take_answer(const http::Answered& answered, const Now& now);
  void take_admission(const http::Answered& answered, const Now& now);
  void observe(const std::optional<SocketAddress>& observed);
  void take_line(const std::string& text, const Now& now);
  [[nodiscard]] http::Request request(std::string_view method, std::string path) const;

  Config config_;
  Credential credential_;
  quic::Endpoint& endpoint_;
  TcpLinks& links_;
  http::Calls calls_;
  Backoff backoff_;
  Carrier carrier_;

  State state_ = State::idle;
  std::vector<SocketAddress> untried_;  // Addresses of this round, in reverse order.
  std::optional<quic::ConnectionKey> connection_;
  std::optional<http::CallKey> admission_call_;
  std::optional<http::CallKey> watch_call_;
  std::optional<Instant> deadline_;  // Of the state, if it has one.
  std::optional<Instant> heartbeat_at_;
  std::optional<SocketAddress> observed_;
  std::optional<Instant> restart_at_;  // Of the watch, while what it brought is refused.
  std::string last_failure_;
  std::string link_failure_;  // Of this try.
  std::string down_reason_;
  std::deque<SessionEvent> events_;
};

}  // namespace zt::node
