// SPDX-License-Identifier: Apache-2.0
#include "zt/path/port_mapping.h"

#include <algorithm>
#include <array>
#include <utility>

namespace zt::path {
namespace {

constexpr unsigned kTriesBeforeUpnp = 2;
constexpr unsigned kTriesBeforeFailure = 3;
constexpr unsigned kNatPmpTriesMax = 9;  // RFC 6886 section 3.1.

constexpr IpPrefix prefix(std::array<std::uint8_t, 4> octets, unsigned length) {
  return {.address = IpAddress::v4(octets), .length = length};
}

std::uint32_t seconds_of(Duration duration) {
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::seconds>(duration).count());
}

// RFC 6887 section 7.4.
MappingFailure failure_of_pcp(std::uint8_t result) {
  switch (result) {
    case wire::kPortControlNotAuthorized:
      return MappingFailure::refused;
    case 7:   // NETWORK_FAILURE
    case 11:  // CANNOT_PROVIDE_EXTERNAL
      return MappingFailure::no_uplink;
    case 8:   // NO_RESOURCES
    case 10:  // USER_EX_QUOTA
      return MappingFailure::exhausted;
    default:
      return MappingFailure::unsupported;
  }
}

// RFC 6886 section 3.5.
MappingFailure failure_of_nat_pmp(std::uint16_t result) {
  switch (result) {
    case wire::kPortControlNotAuthorized:
      return MappingFailure::refused;
    case 3:
      return MappingFailure::no_uplink;
    case 4:
      return MappingFailure::exhausted;
    default:
      return MappingFailure::unsupported;
  }
}

}  // namespace

std::string_view to_text(MappingMethod method) {
  switch (method) {
    case MappingMethod::pcp:
      return "PCP";
    case MappingMethod::nat_pmp:
      return "NAT-PMP";
    case MappingMethod::upnp:
      return "UPnP-IGD";
  }
  return "";
}

std::string_view to_text(MappingFailure failure) {
  switch (failure) {
    case MappingFailure::no_answer:
      return "no_answer";
    case MappingFailure::refused:
      return "refused";
    case MappingFailure::exhausted:
      return "exhausted";
    case MappingFailure::no_uplink:
      return "no_uplink";
    case MappingFailure::not_public:
      return "not_public";
    case MappingFailure::short_lived:
      return "short_lived";
    case MappingFailure::endless:
      return "endless";
    case MappingFailure::unsupported:
      return "unsupported";
  }
  return "";
}

std::string_view explain(MappingFailure failure) {
  switch (failure) {
    case MappingFailure::no_answer:
      return "the gateway does not answer PCP, NAT-PMP or UPnP-IGD";
    case MappingFailure::refused:
      return "the gateway refuses: port mapping is not allowed to this machine";
    case MappingFailure::exhausted:
      return "the gateway has no port to spare";
    case MappingFailure::no_uplink:
      return "the gateway has no external address";
    case MappingFailure::not_public:
      return "the gateway's external address is not public: there is another NAT beyond it";
    case MappingFailure::short_lived:
      return "the gateway grants a time too short to use";
    case MappingFailure::endless:
      return "the gateway only makes mappings that never end, which a crash would leave open";
    case MappingFailure::unsupported:
      return "the gateway's answer cannot be used";
  }
  return "";
}

bool is_public(const IpAddress& address) {
  // What kind_of calls global although it is not, from the connector's point of view rightly.
  static constexpr std::array kNotRouted{prefix({10, 0, 0, 0}, 8),     prefix({172, 16, 0, 0}, 12),
                                         prefix({192, 168, 0, 0}, 16), prefix({100, 64, 0, 0}, 10),
                                         prefix({192, 0, 0, 0}, 24),   prefix({192, 88, 99, 0}, 24),
                                         prefix({198, 18, 0, 0}, 15)};
  return address.is_v4() && kind_of(address) == AddressKind::global &&
         std::ranges::none_of(
             kNotRouted, [&address](const IpPrefix& block) { return block.contains(address); });
}

PortMapper::PortMapper(const Limits& limits, Random& random) : limits_(limits), random_(random) {}

void PortMapper::handle(Input input, const Now& now) {
  std::visit([this, &now](const auto& alternative) { apply(alternative, now.instant); }, input);
  advance(now.instant);
}

void PortMapper::handle_timeout(const Now& now) {
  advance(now.instant);
}

std::optional<PortMapper::Output> PortMapper::poll_output() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

std::optional<Instant> PortMapper::next_deadline() const {
  std::optional<Instant> deadline = earlier_of(ask_at_, upnp_at_);
  if (mapping_) deadline = earlier_of(deadline, std::optional(mapping_->expires));
  return deadline;
}

bool PortMapper::is_gateway(const SocketAddress& source) const {
  return place_ && source.ip == place_->gateway && source.port == wire::kPortControlPort;
}

MappingStatus PortMapper::status() const {
  return {.place = place_, .mapping = mapping_, .failure = failure_};
}

// --- Inputs

void PortMapper::apply(const PlaceChanged& input, Instant now) {
  if (place_ && !input.place) withdraw_all();  // Of another network the gateway is out of reach.
  forget_upnp();
  drop_mapping();
  failure_.reset();
  method_.reset();
  is_waiting_ = false;
  ask_at_.reset();
  place_ = input.place;
  nonce_ = input.nonce;
  if (place_) ask_at_ = now;
}

void PortMapper::apply(const GatewayAnswered& input, Instant now) {
  if (!is_waiting_ || !is_gateway(input.source)) return;
  const auto answer = wire::parse_port_control(input.datagram);
  if (!answer) return;
  std::visit([this, now](const auto& alternative) { take(alternative, now); }, *answer);
}

void PortMapper::apply(const UpnpMapped& input, Instant now) {
  if (!is_upnp_asked_) return;
  establish(MappingMethod::upnp, input.external, input.lifetime, now);
}

void PortMapper::apply(const UpnpFailed& input, Instant now) {
  if (!is_upnp_asked_) return;
  upnp_at_ = now + limits_.upnp_retry;
  if (!mapping_) note_failure(input.failure);
}

void PortMapper::take(const wire::PcpMapped& answer, Instant now) {
  if (!place_ || answer.internal_port != place_->internal.port) return;
  if (answer.nonce != nonce_) return;
  establish(MappingMethod::pcp, answer.external, std::chrono::seconds(answer.lifetime_s), now);
}

void PortMapper::take(const wire::PcpFailed& answer, Instant now) {
  if (answer.nonce && *answer.nonce != nonce_) return;
  method_ = MappingMethod::pcp;
  fail(failure_of_pcp(answer.result), std::chrono::seconds(answer.lifetime_s), now);
}

void PortMapper::take(const wire::NatPmpAddress& answer, Instant now) {
  round_.address = answer.external;
  take_nat_pmp(now);
}

void PortMapper::take(const wire::NatPmpMapped& answer, Instant now) {
  if (!place_ || answer.internal_port != place_->internal.port) return;
  round_.mapped = answer;
  take_nat_pmp(now);
}

void PortMapper::take_nat_pmp(Instant now) {
  if (!round_.address || !round_.mapped) return;
  establish(MappingMethod::nat_pmp, {.ip = *round_.address, .port = round_.mapped->external_port},
            std::chrono::seconds(round_.mapped->lifetime_s), now);
}

void PortMapper::take(const wire::NatPmpFailed& answer, Instant now) {
  if (answer.result == wire::kPortControlUnsupported && method_ != MappingMethod::nat_pmp) {
    // It speaks NAT-PMP and no PCP.
    method_ = MappingMethod::nat_pmp;
    is_waiting_ = false;
    ask_at_ = now;
    return;
  }
  method_ = MappingMethod::nat_pmp;
  fail(failure_of_nat_pmp(answer.result), Duration::zero(), now);
}

// --- Time

void PortMapper::advance(Instant now) {
  if (!place_) return;
  if (mapping_ && now >= mapping_->expires) {
    drop_mapping();
    note_failure(MappingFailure::no_answer);
    method_.reset();
    is_waiting_ = false;
    ask_at_ = now;
  }
  if (ask_at_ && now >= *ask_at_) ask(now);
  if (upnp_at_ && now >= *upnp_at_) {
    upnp_at_.reset();
    is_upnp_asked_ = true;
    outputs_.emplace_back(UpnpWanted{.place = *place_, .lifetime = limits_.lifetime});
  }
}

// ask sends the next request of a round, or the first of a new one.
void PortMapper::ask(Instant now) {
  if (!std::exchange(is_waiting_, true)) {
    tries_ = 0;
    round_ = {};
  }
  if (method_ == MappingMethod::nat_pmp && tries_ == kNatPmpTriesMax) method_.reset();
  const MappingMethod method =
      method_.value_or(tries_ % 2 == 0 ? MappingMethod::pcp : MappingMethod::nat_pmp);
  send_request(method, seconds_of(limits_.lifetime));
  const bool is_fast = method_ == MappingMethod::nat_pmp;
  wait_ = tries_ == 0 ? (is_fast ? limits_.nat_pmp_wait : limits_.pcp_wait)
                      : std::min(2 * wait_, limits_.wait_max);
  // RFC 6887 section 8.1.1: a tenth more or less.
  const auto jitter = random_.below(static_cast<std::uint64_t>(wait_.count() / 5) + 1);
  ask_at_ = now + wait_ - (wait_ / 10) + Duration(jitter);
  ++tries_;
  if (mapping_) return;
  if (tries_ >= kTriesBeforeUpnp) want_upnp(now);
  if (tries_ >= kTriesBeforeFailure && !failure_) note_failure(MappingFailure::no_answer);
}

void PortMapper::send_request(MappingMethod method, std::uint32_t lifetime_s) {
  if (!place_) return;
  const MappingPlace& place = *place_;
  const auto send = [this, &place](BytesView datagram) {
    outputs_.emplace_back(
        SendToGateway{.target = {.ip = place.gateway, .port = wire::kPortControlPort},
                      .datagram = Bytes(datagram.begin(), datagram.end())});
  };
  const std::uint16_t port = place.internal.port;
  // What we have, or the port that we know from here. Nothing is suggested of what is to end.
  SocketAddress suggested{.ip = IpAddress(), .port = port};
  if (mapping_ && mapping_->method == method) suggested = mapping_->external;
  if (lifetime_s == 0) suggested = {};
  if (method == MappingMethod::pcp) {
    return send(wire::encode_pcp_map({.client = place.internal.ip,
                                      .lifetime_s = lifetime_s,
                                      .nonce = nonce_,
                                      .internal_port = port,
                                      .suggested = suggested}));
  }
  if (lifetime_s != 0) send(wire::encode_nat_pmp_address());
  send(wire::encode_nat_pmp_map(
      {.internal_port = port, .suggested_port = suggested.port, .lifetime_s = lifetime_s}));
}

// --- Mapped, or not

void PortMapper::establish(MappingMethod method, const SocketAddress& external, Duration lifetime,
                           Instant now) {
  const bool is_upnp = method == MappingMethod::upnp;
  if (is_upnp && mapping_ && !is_mapped_by(MappingMethod::upnp)) return;
  if (!is_upnp) method_ = method;
  std::optional<MappingFailure> failure;
  if (external.port == 0) {
    failure = MappingFailure::unsupported;
  } else if (!is_public(external.ip)) {
    failure = MappingFailure::not_public;
  } else if (lifetime < limits_.lifetime_min) {
    failure = MappingFailure::short_lived;
  }
  if (failure) {
    withdraw(method);
    drop_mapping();
    if (!is_upnp) return fail(*failure, limits_.refused_max, now);
    upnp_at_ = now + limits_.upnp_retry;
    return note_failure(*failure);
  }
  const Duration kept = std::min(lifetime, limits_.lifetime_max);
  const bool is_new = !mapping_ || mapping_->external != external || mapping_->method != method;
  mapping_ = {.method = method, .external = external, .lifetime = kept, .expires = now + kept};
  failure_.reset();
  if (is_new) outputs_.emplace_back(MappingChanged{});
  if (is_upnp) {
    upnp_at_ = now + (kept / 2);
    return;
  }
  is_waiting_ = false;
  ask_at_ = now + std::max(limits_.renew_min, std::min(kept / 2, limits_.check_interval));
  // Some gateways keep one list: deleting there may delete what has just been made.
  if (is_upnp_asked_) ask_at_ = now + limits_.renew_min;
  forget_upnp();
}

// withdraw deletes at the gateway what one method has made. What gets lost ends by itself.
void PortMapper::withdraw(MappingMethod method) {
  if (method == MappingMethod::upnp) return forget_upnp();
  send_request(method, 0);
}

// withdraw_all also deletes what an answer that has not come yet may have made.
void PortMapper::withdraw_all() {
  const bool is_asked = is_waiting_ && tries_ > 0;
  for (const MappingMethod method : {MappingMethod::pcp, MappingMethod::nat_pmp}) {
    const bool may_be =
        is_asked && (method_ ? *method_ == method : method == MappingMethod::pcp || tries_ > 1);
    if (may_be || is_mapped_by(method)) withdraw(method);
  }
}

// fail waits for `wait` as far as that is sensible, and lets another method try.
void PortMapper::fail(MappingFailure failure, Duration wait, Instant now) {
  is_waiting_ = false;
  ask_at_ = now + std::clamp(wait, limits_.refused_min, limits_.refused_max);
  if (mapping_) return;  // Until its end.
  note_failure(failure);
  if (failure != MappingFailure::not_public) want_upnp(now);
}

void PortMapper::drop_mapping() {
  if (!mapping_) return;
  mapping_.reset();
  outputs_.emplace_back(MappingChanged{});
}

void PortMapper::note_failure(MappingFailure failure) {
  // That one method is silent says less than what another one has answered.
  if (failure_ && failure == MappingFailure::no_answer) return;
  if (std::exchange(failure_, failure) != failure) outputs_.emplace_back(MappingChanged{});
}

void PortMapper::want_upnp(Instant now) {
  if (!is_upnp_asked_ && !upnp_at_) upnp_at_ = now;
}

void PortMapper::forget_upnp() {
  upnp_at_.reset();
  if (std::exchange(is_upnp_asked_, false)) outputs_.emplace_back(UpnpUnwanted{});
}

}  // namespace zt::path
