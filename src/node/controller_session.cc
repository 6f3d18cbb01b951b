// SPDX-License-Identifier: Apache-2.0
#include "node/controller_session.h"

#include <algorithm>
#include <utility>

#include "node/messages.h"
#include "wire/json.h"
#include "zt/base/assert.h"

namespace zt::node {

namespace {

using wire::Json;

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};

// is_final tells whether asking again cannot help. 408 and 429 ask us to come back.
bool is_final(int status) {
  return status >= 400 && status < 500 && status != 408 && status != 429;
}

// problem_detail reads the sentence of an RFC 9457 problem.
std::string problem_detail(int status, const std::string& body) {
  const Json problem = wire::parse_json_object(body);
  if (problem.is_object()) {
    for (const char* name : {"detail", "title"}) {
      const auto found = problem.find(name);
      if (found != problem.end() && found->is_string()) return found->get<std::string>();
    }
  }
  return "the controller answered with status " + std::to_string(status);
}

std::optional<Admission> parse_admission(const std::string& body) {
  const Json object = wire::parse_json_object(body);
  if (!object.is_object()) return std::nullopt;
  Admission admission;
  const auto tenant = parse_id_as<TenantIdTag>(wire::text_or_empty(object, "tenant"));
  const auto jwks = object.find("jwks");
  if (!tenant || jwks == object.end() || !jwks->is_object()) return std::nullopt;
  admission.tenant = *tenant;
  admission.jwks = wire::json_text(*jwks);
  admission.node = wire::text_or_empty(object, "node");
  admission.network.text = wire::text_or_empty(object, "network");
  admission.subject.text = wire::text_or_empty(object, "subject");
  admission.subject_name = wire::text_or_empty(object, "subject_name");
  admission.device.text = wire::text_or_empty(object, "device");
  if (admission.node.empty() && admission.device.is_empty()) return std::nullopt;
  return admission;
}

}  // namespace

ControllerSession::ControllerSession(Config config, Credential credential, quic::Endpoint& endpoint,
                                     TcpLinks& links, Random& random)
    : config_(std::move(config)),
      credential_(std::move(credential)),
      endpoint_(endpoint),
      links_(links),
      calls_(endpoint, config_.calls),
      backoff_(config_.backoff, random),
      carrier_(config_.carrier, endpoint, links, random) {}

void ControllerSession::start(const Now& now) {
  ZT_ASSERT(state_ == State::idle);
  look_up(now);
}

void ControllerSession::look_up(const Now& now) {
  state_ = State::looking_up;
  deadline_ = now.instant + config_.attempt_timeout * 4;
  if (const auto* address = std::get_if<IpAddress>(&config_.controller.host)) {
    lookup_done({*address}, now);
  } else {
    events_.emplace_back(LookupWanted{std::get<DnsName>(config_.controller.host)});
  }
}

void ControllerSession::lookup_done(const std::vector<IpAddress>& addresses, const Now& now) {
  if (state_ != State::looking_up) return;  // An answer after its deadline.
  if (addresses.empty()) {
    return lose("the name " + zt::to_text(config_.controller.host) + " does not resolve", now);
  }
  untried_.clear();
  for (const IpAddress& address : links_.in_order(addresses)) {
    if (untried_.size() == config_.addresses_max) break;
    untried_.push_back({.ip = address, .port = config_.controller.port});
  }
  link_failure_.clear();
  carrier_.begin({.remotes = untried_,
                  .pin = pin(),
                  .server_name = server_name(),
                  .authority = config_.controller.to_text()},
                 now);
  std::ranges::reverse(untried_);
  connect_next(now);
}

void ControllerSession::connect_next(const Now& now) {
  state_ = State::connecting;
  if (!untried_.empty()) {
    const SocketAddress remote = untried_.back();
    untried_.pop_back();
    return connect(remote, now);
  }
  if (carrier_.is_on_link() || !carrier_.is_link_pending()) {
    return lose(
        link_failure_.empty() ? last_failure_ : last_failure_ + "; by TCP: " + link_failure_, now);
  }
  deadline_.reset();  // The carrier has one.
}

void ControllerSession::connect(const SocketAddress& remote, const Now& now) {
  const auto connection = endpoint_.connect(
      {.remote = remote, .pin = pin(), .server_name = server_name(), .peer_route = std::nullopt},
      now.instant);
  if (!connection) return lose("too many connections", now);
  connection_ = *connection;
  state_ = State::connecting;
  deadline_ = now.instant + config_.attempt_timeout;
}

// --- The carrier.

bool ControllerSession::link_opened(const SocketAddress& link, const SocketAddress& remote,
                                    const Now& now) {
  if (!carrier_.link_opened(link, remote, now)) return false;
  take_changes(now);
  return true;
}

bool ControllerSession::link_closed(const SocketAddress& link, std::string_view reason,
                                    const Now& now) {
  if (!carrier_.link_closed(link, reason, now)) return false;
  take_changes(now);
  return true;
}

void ControllerSession::take_changes(const Now& now) {
  while (const auto change = carrier_.poll_change()) take_change(*change, now);
}

void ControllerSession::take_change(const Carrier::Change& change, const Now& now) {
  switch (change.kind) {
    case Carrier::Change::Kind::to_link:
      if (state_ == State::connecting) {
        if (connection_) endpoint_.close(*connection_, kStreamNoError, "by TCP", now.instant);
        untried_.clear();
        return connect(change.name, now);
      }
      [[fallthrough]];
    case Carrier::Change::Kind::to_udp:
      if (connection_) (void)endpoint_.rebind(*connection_, now.instant);  // Else it dies idle.
      return;
    case Carrier::Change::Kind::link_failed:
      link_failure_ = change.reason;
      if (state_ == State::connecting && !connection_) connect_next(now);
      return;
    case Carrier::Change::Kind::lost:
      if (state_ != State::stopped) {
        lose("the TCP link to the controller is lost: " + change.reason, now);
      }
      return;
  }
}

std::string ControllerSession::server_name() const {
  const auto* name = std::get_if<DnsName>(&config_.controller.host);
  return name != nullptr ? name->text() : std::string();
}

quic::PeerPin ControllerSession::pin() const {
  return {.kind = quic::PeerPin::Kind::public_key, .digest = config_.pin};
}

bool ControllerSession::handle(const quic::Event& event, const Now& now) {
  if (carrier_.handle(event, now)) {
    take_changes(now);
    return true;
  }
  const bool is_claimed = calls_.handle(event, now.instant);
  take_calls(now);
  if (is_claimed) return true;
  if (const auto* ready = std::get_if<quic::ConnectionReady>(&event)) {
    if (ready->connection != connection_ || state_ != State::connecting) return false;
    carrier_.connected(ready->remote, now);
    if (std::holds_alternative<KnownIdentity>(credential_)) {
      open_watch(now);
    } else {
      admit(now);
    }
    return true;
  }
  if (const auto* closed = std::get_if<quic::ConnectionClosed>(&event)) {
    if (closed->connection != connection_) return false;
    connection_.reset();
    if (closed->reason != quic::CloseReason::local) {
      last_failure_ = "the controller is unreachable: ";
      last_failure_ += quic::to_text(closed->reason);
      if (!closed->text.empty()) last_failure_ += " (" + closed->text + ")";
    }
    if (state_ == State::connecting) {
      connect_next(now);
    } else if (state_ != State::stopped && state_ != State::waiting) {
      lose(last_failure_, now);
    }
    return true;
  }
  if (const auto* failed = std::get_if<quic::MigrationFailed>(&event)) {
    if (failed->connection != connection_) return false;
    carrier_.distrust(now);
    take_changes(now);
    return true;
  }
  return false;
}

void ControllerSession::handle_timeout(const Now& now) {
  calls_.handle_timeout(now.instant);
  take_calls(now);
  carrier_.handle_timeout(now);
  take_changes(now);
  if (heartbeat_at_ && *heartbeat_at_ <= now.instant) {
    heartbeat_at_ = now.instant + config_.heartbeat_interval;
    events_.emplace_back(HeartbeatDue{});
  }
  if (restart_at_ && *restart_at_ <= now.instant) {
    restart_at_.reset();
    restart_watch(now);
  }
  if (!deadline_ || now.instant < *deadline_) return;
  deadline_.reset();
  switch (state_) {
    case State::waiting:
      return look_up(now);
    case State::looking_up:
      return lose("looking up the controller's name took too long", now);
    case State::connecting:
      last_failure_ = "the controller is unreachable: no answer";
      // ConnectionClosed follows and tries the next address.
      if (connection_) endpoint_.close(*connection_, kStreamNoError, "no answer", now.instant);
      return;
    case State::idle:
    case State::admitting:
    case State::opening:
    case State::up:
    case State::stopped:
      return;  // Calls have their own deadlines.
  }
}

std::optional<SessionEvent> ControllerSession::poll_event() {
  if (events_.empty()) return std::nullopt;
  SessionEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

std::optional<Instant> ControllerSession::next_deadline() const {
  return earlier_of(earlier_of(earlier_of(deadline_, heartbeat_at_), restart_at_),
                    earlier_of(calls_.next_deadline(), carrier_.next_deadline()));
}

std::optional<Instant> ControllerSession::heard_at() const {
  if (state_ != State::up || !connection_) return std::nullopt;
  const auto statistics = endpoint_.statistics(*connection_);
  if (!statistics) return std::nullopt;
  return statistics->arrived_last;
}

std::optional<SocketAddress> ControllerSession::remote() const {
  return connection_ ? endpoint_.remote_of(*connection_) : std::nullopt;
}

std::optional<Duration> ControllerSession::round_trip() const {
  const auto statistics = connection_ ? endpoint_.statistics(*connection_) : std::nullopt;
  if (!statistics) return std::nullopt;
  return statistics->rtt_smoothed;
}

std::optional<http::CallKey> ControllerSession::call(std::string_view method, std::string_view path,
                                                     std::string body, const Now& now) {
  if (state_ != State::up || !connection_) return std::nullopt;
  return calls_.start(*connection_, request(method, std::string(path)), std::move(body),
                      now.instant);
}

void ControllerSession::restart_watch(const Now& now) {
  if (state_ != State::up && state_ != State::opening) return;
  if (watch_call_) calls_.cancel(*watch_call_);
  open_watch(now);
}

void ControllerSession::set_refused(bool is_refused, const Now& now) {
  if (!is_refused) {
    restart_at_.reset();
  } else if (!restart_at_) {
    restart_at_ = now.instant + config_.heartbeat_interval;
  }
}

void ControllerSession::network_changed(const Now& now) {
  const auto at = remote();
  const bool is_out_of_reach = carrier_.is_on_link() || (at && !links_.leads_to(at->ip));
  if (state_ == State::waiting) {
    backoff_.reset();
    look_up(now);
  } else if (connection_ && is_out_of_reach) {
    // The link's TCP connection cannot move, nor can any to an address of a family that is gone.
    lose("the network has changed", now);
    backoff_.reset();
    look_up(now);
  } else if (connection_) {
    // Before its handshake is confirmed a connection cannot move: then the attempt ends in time.
    (void)endpoint_.rebind(*connection_, now.instant);
    if (links_.is_udp_blocked()) carrier_.distrust(now);
  }
}

void ControllerSession::admit(const Now& now) {
  Json body = {{"version", config_.version}};
  std::string path;
  std::visit(Overloaded{
                 [&](const Enrolment& enrolment) {
                   path = "/api/v1/enrol";
                   body["secret"] = enrolment.secret.reveal();
                   body["kind"] = enrolment.kind;
                   if (!enrolment.name.empty()) body["name"] = enrolment.name;
                   if (!enrolment.address.empty()) body["address"] = enrolment.address;
                 },
                 [&](const ServiceSignIn& sign_in) {
                   path = "/api/v1/sessions";
                   body["key_id"] = sign_in.key.text;
                   body["secret"] = sign_in.secret.reveal();
                   body["device"] = {{"name", sign_in.device_name}, {"os", sign_in.device_os}};
                 },
                 [](const KnownIdentity&) {},
             },
             credential_);
  state_ = State::admitting;
  deadline_.reset();
  admission_call_ =
      calls_.start(*connection_, request("POST", path), wire::json_text(body), now.instant);
  take_calls(now);
}

void ControllerSession::open_watch(const Now& now) {
  state_ = State::opening;
  deadline_.reset();
  restart_at_.reset();  // It begins with all that there is.
  watch_call_ =
      calls_.start_streaming(*connection_, request("GET", "/api/v1/node/watch"), now.instant);
  take_calls(now);
}

void ControllerSession::lose(std::string reason, const Now& now) {
  if (connection_) endpoint_.close(*connection_, kStreamNoError, "starting anew", now.instant);
  connection_.reset();
  carrier_.end(now);
  admission_call_.reset();
  watch_call_.reset();
  heartbeat_at_.reset();
  observe(std::nullopt);
  state_ = State::waiting;
  const Duration wait = backoff_.next();
  deadline_ = now.instant + wait;
  down_reason_ = std::move(reason);
  events_.emplace_back(SessionDown{.reason = down_reason_, .wait = wait});
}

void ControllerSession::stop(int status, std::string detail) {
  state_ = State::stopped;
  deadline_.reset();
  heartbeat_at_.reset();
  events_.emplace_back(Refused{.status = status, .detail = std::move(detail)});
}

void ControllerSession::take_calls(const Now& now) {
  while (auto event = calls_.poll_event()) {
    std::visit(
        Overloaded{
            [&](http::Answered& answered) { take_answer(answered, now); },
            [&](const http::Started& started) {
              if (started.call != watch_call_) return;
              state_ = State::up;
              backoff_.reset();
              heartbeat_at_ = now.instant;  // The first one tells the controller what we are.
              events_.emplace_back(SessionUp{});
            },
            [&](const http::Line& line) {
              if (line.call == watch_call_) take_line(line.text, now);
            },
            [&](const http::Ended& ended) {
              if (ended.call == watch_call_) lose("the controller ended the watch stream", now);
            },
            [&](const http::Failed& failed) {
              if (failed.call == watch_call_ || failed.call == admission_call_) {
                const bool is_connection_event_due =
                    failed.error == http::CallError::connection_lost && connection_.has_value();
                // ConnectionClosed follows and says more.
                if (!is_connection_event_due) lose(std::string(to_text(failed.error)), now);
              } else {
                events_.emplace_back(CallFailed{.call = failed.call, .error = failed.error});
              }
            },
        },
        *event);
  }
}

void ControllerSession::take_answer(const http::Answered& answered, const Now& now) {
  const int status = answered.response.status;
  if (answered.call == admission_call_) return take_admission(answered, now);
  if (answered.call != watch_call_) {
    events_.emplace_back(
        CallAnswered{.call = answered.call, .status = status, .body = answered.body});
    return;
  }
  watch_call_.reset();
  if (is_final(status)) return stop(status, problem_detail(status, answered.body));
  lose(problem_detail(status, answered.body), now);
}

void ControllerSession::observe(const std::optional<SocketAddress>& observed) {
  if (std::exchange(observed_, observed) != observed) events_.emplace_back(SeenElsewhere{});
}

void ControllerSession::take_admission(const http::Answered& answered, const Now& now) {
  const int status = answered.response.status;
  admission_call_.reset();
  if (status < 200 || status >= 300) {
    std::string detail = problem_detail(status, answered.body);
    return is_final(status) ? stop(status, std::move(detail)) : lose(std::move(detail), now);
  }
  auto admission = parse_admission(answered.body);
  if (!admission) return lose("the controller's admission is malformed", now);
  credential_ = KnownIdentity{};  // Wipes the secret.
  events_.emplace_back(Admitted{std::move(*admission)});
  open_watch(now);
}

void ControllerSession::take_line(const std::string& text, const Now& now) {
  auto message = parse_watch_message(text);
  if (!message) return lose("the watch stream is malformed", now);
  if (const auto* told = std::get_if<WatchObserved>(&*message)) {
    // Over a link it sees nothing of our port.
    if (!is_link_address(told->address.ip)) observe(told->address);
    return;
  }
  events_.emplace_back(Told{std::move(*message)});
}

std::optional<SocketAddress> ControllerSession::observed() const {
  return carrier_.is_on_link() ? std::nullopt : observed_;
}

http::Request ControllerSession::request(std::string_view method, std::string path) const {
  http::Request request{.method = std::string(method),
                        .scheme = "https",
                        .authority = config_.controller.to_text(),
                        .path = std::move(path)};
  if (method == "POST") request.fields.add("content-type", "application/json");
  request.fields.add("user-agent", "zt/" + config_.version);
  return request;
}

}  // namespace zt::node
