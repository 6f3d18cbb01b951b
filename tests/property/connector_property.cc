// SPDX-License-Identifier: Apache-2.0
// The connector against a plain oracle: no dial without a valid grant and the own configuration at
// that instant; no flow lives longer than its right; each flow ends once; nothing is left over.

#include <algorithm>
#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "crypto/signing_key.h"
#include "zt/connector/engine.h"

namespace zt::connector {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

template <class Tag>
Id<Tag> id_of(std::uint64_t number) {
  SeededRandom random(number);
  return make_id<Tag>(random);
}

Digest certificate_of(std::uint64_t number) {
  Digest result;
  result.bytes[0] = static_cast<std::byte>(number);
  return result;
}

// The little world: which resource a host belongs to, and what may be dialled.
struct Place {
  const char* host;
  std::uint64_t resource;
};
constexpr Place kPlaces[] = {
    {"a.internal", 1}, {"10.1.2.3", 2}, {"10.1.0.9", 2}, {"127.0.0.1", 3}, {"127.0.0.2", 4}};
constexpr const char* kResourceAddresses[] = {"", "a.internal", "10.1.0.0/16", "127.0.0.1",
                                              "127.0.0.0/8"};
constexpr const char* kAnswers[] = {"10.9.0.1",  "10.9.0.2", "fd00::1",         "10.1.0.9",
                                    "127.0.0.1", "::1",      "169.254.169.254", "::ffff:127.0.0.1",
                                    "0.0.0.0",   "224.0.0.1"};
constexpr std::uint16_t kPorts[] = {80, 5432};

// is_dangerous is written down by hand, address by address.
bool is_dangerous(const std::string& address) {
  static const std::set<std::string> safe = {"10.9.0.1", "10.9.0.2", "fd00::1", "10.1.0.9",
                                             "10.1.2.3"};
  return !safe.contains(address);
}

struct Lease {
  UnixTime wall;
  Instant monotonic;
};

constexpr Duration kHoldTimeout = seconds(200);
constexpr std::size_t kHeldMax = 3;
const Engine::Limits kLimits{.held_max = kHeldMax, .hold_timeout = kHoldTimeout};

struct Token {
  grant::Grant grant;
  std::size_t key_index = 0;
  Place place{};
  std::uint16_t port = 0;
};

struct ModelFlow {
  std::uint64_t peer = 0;
  Place place{};
  std::uint16_t port = 0;
  std::size_t token = 0;
  Lease lease;
  enum class State : std::uint8_t { resolving, dialling, open, held, cut } state = State::resolving;
  Instant step_deadline;
  Instant held_until;
  std::vector<std::string> resolved;
  std::vector<SocketAddress> offered;
  std::string dialled;
  bool was_let_in = false;
};

class History {
 public:
  explicit History(std::uint64_t seed)
      : random_(seed), engine_random_(seed + 1), engine_(kLimits, self_, engine_random_) {
    keys_.push_back(crypto::SigningKey::create());
    keys_.push_back(crypto::SigningKey::create());
  }

  void run() {
    for (int step = 0; step < 250; ++step) {
      act();
      check_step();
    }
    while (!peers_.empty()) {
      drop_peer(*peers_.begin());
      check_step();
    }
    while (!flows_.empty()) {
      end_flow(flows_.begin()->first);
      check_step();
    }
    const Engine::Statistics end = engine_.statistics();
    REQUIRE(end.peers == 0);
    REQUIRE(end.flows_pending + end.flows_open + end.flows_held + end.flows_cut == 0);
  }

 private:
  std::uint64_t below(std::uint64_t bound) { return random_.below(bound); }

  template <class Sequence>
  auto any_of(const Sequence& sequence) {
    return *std::next(std::begin(sequence),
                      static_cast<std::ptrdiff_t>(below(std::size(sequence))));
  }

  void act() {
    refused_for_cause_.clear();
    gone_peer_ = 0;
    switch (below(16)) {
      case 0:
        return configure();
      case 1:
        return change_keys();
      case 2:
        return revoke();
      case 3:
        return change_own_addresses();
      case 4:
      case 5:
        return add_peer();
      case 6:
        if (!peers_.empty() && below(4) == 0) drop_peer(any_of(peers_));
        return;
      case 7:
      case 8:
        return pass_time();
      case 9:
        return present();
      case 10:
        if (!flows_.empty()) end_flow(any_of(flows_).first);
        return;
      case 11:
      case 12:
        return answer_something();
      default:
        return request();
    }
  }

  void handle(Engine::Input input) { engine_.handle(std::move(input), now_); }

  void configure() {
    configuration_.clear();
    grant::NodeConfig config{.tenant = self_.tenant,
                             .node = {self_.connector.text},
                             .issued_at = now_.unix_time,
                             .revision = ++revision_,
                             .kind = grant::NodeConfig::Kind::snapshot,
                             .base = 0,
                             .upsert = {},
                             .remove = {}};
    config_issued_ = std::max(config_issued_, config.issued_at);
    config.issued_at = config_issued_;
    for (std::uint64_t number = 1; number <= 4; ++number) {
      if (below(5) == 0) continue;
      std::set<std::uint16_t> ports = {kPorts[0], kPorts[1]};
      if (below(4) == 0) ports.erase(kPorts[below(2)]);
      const bool is_enabled = below(10) != 0;
      grant::ResourceEntry entry{.id = id_of<ResourceIdTag>(number),
                                 .name = "r",
                                 .network = self_.network,
                                 .address = kResourceAddresses[number],
                                 .tcp = {},
                                 .udp = {},
                                 .is_enabled = is_enabled,
                                 .aliases = {}};
      for (const std::uint16_t port : ports) entry.tcp.push_back({port, port});
      config.upsert.push_back(entry);
      configuration_[number] = is_enabled ? ports : std::set<std::uint16_t>{};
    }
    handle(ConfigurationReceived{config});
  }

  void change_keys() {
    held_keys_ = {0};
    if (below(2) == 0) held_keys_.insert(1);
    if (below(8) == 0) held_keys_.erase(0);
    grant::KeySet set;
    for (const std::size_t index : held_keys_) REQUIRE(set.add(keys_[index].public_key()));
    known_.clear();
    handle(KeysReceived{set});
  }

  void revoke() {
    if (tokens_.empty()) return;
    const GrantId id = tokens_[below(tokens_.size())].grant.id;
    revoked_.insert(id);
    handle(GrantsRevoked{{id}, ""});
  }

  void change_own_addresses() {
    own_.clear();
    if (below(2) == 0) own_.insert("10.1.0.9");
    std::vector<IpAddress> addresses;
    for (const std::string& text : own_) addresses.push_back(*IpAddress::parse(text));
    handle(OwnAddressesChanged{addresses});
  }

  void add_peer() {
    if (!closing_.empty()) return drop_peer(*closing_.begin());
    if (peers_.size() >= 3) return;
    const std::uint64_t peer = ++last_peer_;
    peers_.insert(peer);
    handle(PeerConnected{PeerKey(peer), certificate_of(peer)});
  }

  void drop_peer(std::uint64_t peer) {
    peers_.erase(peer);
    closing_.erase(peer);
    known_.erase(peer);
    gone_peer_ = peer;
    handle(PeerGone{PeerKey(peer)});
  }

  void pass_time() {
    const auto passed = milliseconds(below(below(4) == 0 ? 120'000 : 4'000));
    now_.instant += passed;
    now_.unix_time += passed;
    if (below(20) == 0) now_.unix_time += seconds(below(600));
    if (below(20) == 0) now_.unix_time -= seconds(below(600));
    engine_.handle_timeout(now_);
  }

  // make_token issues a grant that is mostly right, for somebody.
  std::size_t make_token(std::uint64_t peer) {
    // Mostly one place, so that grants meet flows that they extend.
    const Place place = below(3) == 0 ? any_of(kPlaces) : kPlaces[0];
    const std::uint16_t port = below(3) == 0 ? any_of(kPorts) : kPorts[0];
    const auto number = static_cast<std::uint64_t>(tokens_.size() + 1);
    grant::Grant grant{.tenant = id_of<TenantIdTag>(below(15) == 0 ? 2 : 1),
                       .subject = {id_of<UserIdTag>(1).text},
                       .device = id_of<DeviceIdTag>(1),
                       .network = id_of<NetworkIdTag>(below(15) == 0 ? 2 : 1),
                       .id = id_of<GrantIdTag>(number + 1000),
                       .issued_at = now_.unix_time,
                       .not_before = now_.unix_time,
                       .expires_at = now_.unix_time + seconds(1 + below(300)),
                       .client_certificate = certificate_of(below(15) == 0 ? 250 : peer),
                       .policy_revision = 1,
                       .decision = id_of<DecisionIdTag>(number),
                       .resource = id_of<ResourceIdTag>(below(15) == 0 ? 9 : place.resource),
                       .permissions = {{.hosts = {*parse_host(place.host)},
                                        .protocols = {Protocol::tcp},
                                        .ports = {{port, port}}}}};
    const auto whole = [](UnixTime time) { return from_unix_seconds(unix_seconds(time)); };
    grant.issued_at = whole(grant.issued_at);
    grant.not_before = whole(grant.not_before);
    grant.expires_at = whole(grant.expires_at) + seconds(1);
    if (below(15) == 0) {
      grant.not_before += seconds(100);
      grant.expires_at += seconds(100);
    }
    tokens_.push_back({grant, below(10) == 0 ? 1U : 0U, place, port});
    return tokens_.size() - 1;
  }

  Secret signed_token(std::size_t index) {
    auto result = grant::issue(tokens_[index].grant, keys_[tokens_[index].key_index]);
    REQUIRE(result);
    return *std::move(result);
  }

  std::size_t some_token(std::uint64_t peer) {
    if (!tokens_.empty() && below(6) == 0) return below(tokens_.size());  // Perhaps a stolen one.
    std::vector<std::size_t>& own = tokens_of_[peer];
    if (!own.empty() && below(3) != 0) return any_of(own);
    own.push_back(make_token(peer));
    return own.back();
  }

  // show tells whether a grant is good in the hands of `peer`, now. What the peer has shown before
  // ends when it was found to end at first, for as long as the connector remembers it.
  bool show(std::size_t index, std::uint64_t peer) {
    const Token& token = tokens_[index];
    if (!is_valid(token, peer)) return false;
    std::vector<Shown>& known = known_[peer];
    const auto found = std::ranges::find(known, index, &Shown::token);
    if (found == known.end()) {
      if (known.size() >= kLimits.known_grants_max) known.erase(known.begin());
      known.push_back({index, lease_of(token.grant).monotonic});
    } else {
      if (found->ends <= now_.instant) return false;
      std::rotate(found, std::next(found), known.end());
    }
    return !revoked_.contains(token.grant.id);
  }

  // is_valid is what makes a grant good but for revocation, if it has not been shown before.
  bool is_valid(const Token& token, std::uint64_t peer) const {
    const grant::Grant& grant = token.grant;
    return held_keys_.contains(token.key_index) && grant.tenant == self_.tenant &&
           grant.network == self_.network && grant.client_certificate == certificate_of(peer) &&
           grant.not_before <= now_.unix_time + seconds(30) &&
           grant.issued_at <= now_.unix_time + seconds(30) && grant.expires_at > now_.unix_time;
  }

  bool is_configured(const grant::Grant& grant, const Place& place, std::uint16_t port) const {
    const auto found = configuration_.find(owner_of(place));
    return found != configuration_.end() && found->second.contains(port) &&
           grant.resource == id_of<ResourceIdTag>(owner_of(place));
  }

  // owner_of is the most specific configured resource that has the place.
  std::uint64_t owner_of(const Place& place) const {
    if (place.resource == 3 && !configuration_.contains(3)) return 4;
    return place.resource;
  }

  bool may_dial(const Place& place, const std::string& address) const {
    const bool is_named = std::string(place.host) == "127.0.0.1" && owner_of(place) == 3;
    if (is_named && address == "127.0.0.1") return true;
    return !is_dangerous(address) && !own_.contains(address);
  }

  Lease lease_of(const grant::Grant& grant) const {
    return {grant.expires_at, now_.instant + (grant.expires_at - now_.unix_time)};
  }

  // shown_lease is that of the grant that `peer` has just shown.
  Lease shown_lease(std::uint64_t peer) const {
    const Shown& shown = known_.at(peer).back();
    return {tokens_[shown.token].grant.expires_at, shown.ends};
  }

  void extend(std::uint64_t peer, std::size_t token_index) {
    const Token& token = tokens_[token_index];
    for (auto& [key, flow] : flows_) {
      if (flow.peer != peer || flow.state == ModelFlow::State::cut) continue;
      if (tokens_[flow.token].grant.resource != token.grant.resource) continue;
      if (std::string(flow.place.host) != token.place.host || flow.port != token.port) continue;
      if (token.grant.expires_at <= flow.lease.wall) continue;
      flow.token = token_index;
      flow.lease = shown_lease(peer);
      if (flow.state == ModelFlow::State::held) expected_releases_.insert(key);
    }
  }

  void request() {
    if (peers_.empty()) return;
    const std::uint64_t peer = any_of(peers_);
    const std::size_t index = some_token(peer);
    const Token token = tokens_[index];
    ModelFlow flow{.peer = peer,
                   .place = below(8) == 0 ? any_of(kPlaces) : token.place,
                   .port = below(8) == 0 ? any_of(kPorts) : token.port,
                   .token = index,
                   .lease = lease_of(token.grant),
                   .step_deadline = now_.instant + seconds(5)};
    engine_.handle_timeout(now_);
    check_step();  // What the time ends is not this request's doing.
    const bool is_open_to_peer = !closing_.contains(peer);
    const bool is_good = is_open_to_peer && show(index, peer);
    if (is_good) {
      flow.lease = shown_lease(peer);
      extend(peer, index);
    }
    const bool is_covered =
        std::string(flow.place.host) == token.place.host && flow.port == token.port;
    const bool is_let_in =
        is_good && is_covered && is_configured(token.grant, flow.place, flow.port);
    const bool is_address = std::string(flow.place.host) != "a.internal";
    const bool is_dialled = is_let_in && is_address && may_dial(flow.place, flow.place.host);
    const auto key = FlowKey(++last_flow_);
    Secret token_text = signed_token(index);
    flow.was_let_in = is_let_in;
    flows_.emplace(key, flow);
    if (is_address) {
      flows_[key].resolved = {flow.place.host};
      flows_[key].state = ModelFlow::State::dialling;
      flows_[key].step_deadline = now_.instant + seconds(10);
    }
    if (!is_let_in || (is_address && !is_dialled)) refused_for_cause_.insert(key);
    handle(FlowRequested{.flow = key,
                         .peer = PeerKey(peer),
                         .target = Authority{*parse_host(flow.place.host), flow.port}.to_text(),
                         .protocol = Protocol::tcp,
                         .token = std::move(token_text),
                         .client_address = {},
                         .path = {}});
  }

  void present() {
    if (peers_.empty()) return;
    const std::uint64_t peer = any_of(peers_);
    const std::size_t index = some_token(peer);
    engine_.handle_timeout(now_);
    check_step();
    const bool is_good = !closing_.contains(peer) && show(index, peer);
    if (is_good) extend(peer, index);
    handle(GrantPresented{RenewalKey(++last_renewal_), PeerKey(peer), signed_token(index)});
    renewal_is_good_ = is_good;
  }

  void answer_something() {
    std::vector<FlowKey> pending;
    for (const auto& [key, flow] : flows_) {
      if (flow.state == ModelFlow::State::resolving || flow.state == ModelFlow::State::dialling) {
        pending.push_back(key);
      }
    }
    if (pending.empty()) return;
    const FlowKey key = any_of(pending);
    engine_.handle_timeout(now_);
    check_step();
    if (!flows_.contains(key)) return;
    ModelFlow& flow = flows_.find(key)->second;
    if (flow.state == ModelFlow::State::resolving) {
      flow.resolved.clear();
      std::vector<IpAddress> addresses;
      for (std::uint64_t i = below(4); i > 0; --i) {
        flow.resolved.emplace_back(any_of(kAnswers));
        addresses.push_back(*IpAddress::parse(flow.resolved.back()));
      }
      const bool has_good = std::ranges::any_of(
          flow.resolved, [&](const std::string& text) { return may_dial(flow.place, text); });
      if (has_good) {
        flow.state = ModelFlow::State::dialling;
        flow.step_deadline = now_.instant + seconds(10);
      } else {
        refused_for_cause_.insert(key);
      }
      handle(Resolved{key, addresses});
      return;
    }
    if (below(4) == 0) {
      refused_for_cause_.insert(key);
      handle(Dialed{key, std::unexpected(DialError::refused)});
      return;
    }
    const SocketAddress address = flow.offered[below(flow.offered.size())];
    flow.state = ModelFlow::State::open;
    flow.dialled = address.ip.to_text();
    expected_accept_ = key;
    handle(Dialed{key, address});
  }

  void end_flow(FlowKey key) {
    engine_.handle_timeout(now_);
    check_step();
    if (flows_.erase(key) == 0) return;
    handle(FlowEnded{key, 1, 1, FlowEnd::finished});
  }

  bool is_leased(const ModelFlow& flow) const {
    return now_.unix_time < flow.lease.wall && now_.instant < flow.lease.monotonic;
  }

  // is_right tells whether a flow that was let in may still carry bytes, by the plain rules;
  // is_holdable, whether it may still be.
  bool is_right(const ModelFlow& flow) const { return is_leased(flow) && is_holdable(flow); }

  bool is_holdable(const ModelFlow& flow) const {
    const Token& token = tokens_[flow.token];
    if (!held_keys_.contains(token.key_index) || revoked_.contains(token.grant.id)) return false;
    if (!is_configured(token.grant, flow.place, flow.port)) return false;
    const bool is_dialled =
        flow.state == ModelFlow::State::open || flow.state == ModelFlow::State::held;
    if (is_dialled) return may_dial(flow.place, flow.dialled);
    if (flow.state == ModelFlow::State::dialling) {
      return std::ranges::all_of(flow.offered, [&](const SocketAddress& address) {
        return may_dial(flow.place, address.ip.to_text());
      });
    }
    return true;
  }

  void check_step() {
    std::set<FlowKey> reported_ends;
    while (auto output = engine_.poll_output()) {
      if (const auto* dial = std::get_if<Dial>(&*output)) {
        check_dial(*dial);
      } else if (const auto* accept = std::get_if<Accept>(&*output)) {
        REQUIRE(expected_accept_ == accept->flow);
        expected_accept_.reset();
      } else if (const auto* refuse = std::get_if<Refuse>(&*output)) {
        check_refuse(*refuse);
      } else if (const auto* cut = std::get_if<Cut>(&*output)) {
        check_cut(*cut);
      } else if (const auto* hold = std::get_if<Hold>(&*output)) {
        ModelFlow& flow = flows_.at(hold->flow);
        REQUIRE(flow.state == ModelFlow::State::open);
        REQUIRE_FALSE(is_leased(flow));
        flow.state = ModelFlow::State::held;
        flow.held_until = std::min(now_.instant, flow.lease.monotonic) + kHoldTimeout;
      } else if (const auto* release = std::get_if<Release>(&*output)) {
        ModelFlow& flow = flows_.at(release->flow);
        REQUIRE(expected_releases_.erase(release->flow) == 1);
        REQUIRE(flow.state == ModelFlow::State::held);
        REQUIRE(is_right(flow));
        flow.state = ModelFlow::State::open;
      } else if (const auto* answered = std::get_if<GrantAnswered>(&*output)) {
        REQUIRE(answered->refusal.has_value() != renewal_is_good_);
      } else if (const auto* close = std::get_if<ClosePeer>(&*output)) {
        closing_.insert(std::uint64_t(close->peer));
      }
    }
    REQUIRE_FALSE(expected_accept_);
    REQUIRE(expected_releases_.empty());
    for (const auto& [key, flow] : flows_) {
      if (flow.state == ModelFlow::State::cut) continue;
      REQUIRE_FALSE(refused_for_cause_.contains(key));
      const bool is_held = flow.state == ModelFlow::State::held;
      REQUIRE((is_held ? is_holdable(flow) : is_right(flow)));
      if (is_held) REQUIRE(now_.instant < flow.held_until);
      if (is_held) REQUIRE((engine_.next_deadline() <= flow.held_until));
      REQUIRE(peers_.contains(flow.peer));
      const bool is_pending = !is_held && flow.state != ModelFlow::State::open;
      if (is_pending) REQUIRE(now_.instant < flow.step_deadline);
      if (is_pending) REQUIRE((engine_.next_deadline() <= flow.step_deadline));
    }
    const Engine::Statistics now = engine_.statistics();
    REQUIRE(now.flows_pending + now.flows_open + now.flows_held + now.flows_cut == flows_.size());
    REQUIRE(now.flows_held == held_count());
    REQUIRE(now.flows_held <= kHeldMax);
  }

  std::size_t held_count() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        flows_, [](const auto& entry) { return entry.second.state == ModelFlow::State::held; }));
  }

  // check_cut: what is open has lost its right; what is held likewise, or its time is over, or it
  // is the one that was held longest of too many.
  void check_cut(const Cut& cut) {
    ModelFlow& flow = flows_.at(cut.flow);
    if (flow.state == ModelFlow::State::held) {
      const bool is_late = now_.instant >= flow.held_until;
      const bool is_oldest = std::ranges::none_of(flows_, [&](const auto& entry) {
        return entry.second.state == ModelFlow::State::held &&
               entry.second.held_until < flow.held_until;
      });
      REQUIRE((flow.peer == gone_peer_ || !is_holdable(flow) || is_late ||
               (is_oldest && held_count() > kHeldMax)));
    } else {
      REQUIRE(flow.state == ModelFlow::State::open);
      REQUIRE((flow.peer == gone_peer_ || !is_holdable(flow)));
    }
    flow.state = ModelFlow::State::cut;
  }

  // check_dial is the promise that matters most.
  void check_dial(const Dial& dial) {
    ModelFlow& flow = flows_.at(dial.flow);
    REQUIRE(flow.state == ModelFlow::State::dialling);
    REQUIRE_FALSE(refused_for_cause_.contains(dial.flow));
    REQUIRE(flow.was_let_in);  // Its grant was valid for this peer when it was presented.
    REQUIRE(is_right(flow));
    REQUIRE_FALSE(dial.addresses.empty());
    for (const SocketAddress& address : dial.addresses) {
      const std::string text = address.ip.to_text();
      REQUIRE(may_dial(flow.place, text));
      REQUIRE(std::ranges::find(flow.resolved, text) != flow.resolved.end());
      REQUIRE(address.port == flow.port);
    }
    flow.offered = dial.addresses;
  }

  void check_refuse(const Refuse& refuse) {
    const ModelFlow& flow = flows_.at(refuse.flow);
    const bool is_late = now_.instant >= flow.step_deadline;
    const bool has_cause = refused_for_cause_.erase(refuse.flow) > 0 || is_late ||
                           flow.peer == gone_peer_ || !is_right(flow);
    REQUIRE(has_cause);
    REQUIRE(flow.state != ModelFlow::State::open);
    flows_.erase(refuse.flow);
  }

  SeededRandom random_;
  SeededRandom engine_random_;
  Engine::Self self_{.tenant = id_of<TenantIdTag>(1),
                     .network = id_of<NetworkIdTag>(1),
                     .connector = id_of<ConnectorIdTag>(1)};
  Engine engine_;
  Now now_{Instant(std::chrono::hours(1)), from_unix_seconds(1'795'000'000)};
  std::vector<crypto::SigningKey> keys_;
  std::set<std::size_t> held_keys_;
  std::map<std::uint64_t, std::set<std::uint16_t>> configuration_;
  std::set<std::string> own_;
  std::set<GrantId> revoked_;
  struct Shown {
    std::size_t token = 0;
    Instant ends;
  };
  std::map<std::uint64_t, std::vector<Shown>> known_;  // By peer; the newest last.
  std::vector<Token> tokens_;
  std::map<std::uint64_t, std::vector<std::size_t>> tokens_of_;
  std::set<std::uint64_t> peers_;
  std::set<std::uint64_t> closing_;
  std::map<FlowKey, ModelFlow> flows_;
  std::set<FlowKey> refused_for_cause_;
  std::optional<FlowKey> expected_accept_;
  std::set<FlowKey> expected_releases_;
  std::uint64_t gone_peer_ = 0;
  bool renewal_is_good_ = false;
  std::uint64_t revision_ = 0;
  UnixTime config_issued_;
  std::uint64_t last_peer_ = 0;
  std::uint64_t last_flow_ = 0;
  std::uint64_t last_renewal_ = 0;
};

TEST_CASE("random histories never dial without two keys, and leave nothing behind") {
  for (std::uint64_t i = 0; i < 150; ++i) {
    INFO("seed " << Catch::getSeed() + i);
    History(Catch::getSeed() + i).run();
  }
}

}  // namespace
}  // namespace zt::connector
