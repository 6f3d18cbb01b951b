// SPDX-License-Identifier: Apache-2.0
#include "node/mapped_port.h"

#include <algorithm>
#include <string>
#include <utility>

#include "crypto/hash.h"
#include "zt/base/bytes.h"

namespace zt::node {

std::string_view to_text(MappingNeed need) {
  switch (need) {
    case MappingNeed::off:
      return "off";
    case MappingNeed::no_gateway:
      return "no_gateway";
    case MappingNeed::unknown:
      return "unknown";
    case MappingNeed::no_nat:
      return "no_nat";
    case MappingNeed::needed:
      return "needed";
  }
  return "";
}

std::string_view explain(MappingNeed need) {
  switch (need) {
    case MappingNeed::off:
      return "off: the gateway is not asked";
    case MappingNeed::no_gateway:
      return "none: there is no IPv4 gateway to ask";
    case MappingNeed::unknown:
      return "not asked for: nobody tells by UDP whether there is a NAT";
    case MappingNeed::no_nat:
      return "not needed: there is no NAT";
    case MappingNeed::needed:
      return "the gateway is being asked";
  }
  return "";
}

MappedPort::MappedPort(const Config& config, Random& random)
    : config_(config),
      mapper_(config.mapper, random),
      need_(config.is_wanted ? MappingNeed::unknown : MappingNeed::off) {}

void MappedPort::set_place(const std::optional<path::MappingPlace>& place, path::NatMapping nat,
                           const Now& now) {
  if (!config_.is_wanted) return;
  // Unseen is no news: what was seen at the same place before still holds.
  if (place != natted_ || nat == path::NatMapping::none) natted_.reset();
  const bool is_natted = nat != path::NatMapping::none && nat != path::NatMapping::unseen;
  if (is_natted) natted_ = place;
  need_ = natted_                         ? MappingNeed::needed
          : !place                        ? MappingNeed::no_gateway
          : nat == path::NatMapping::none ? MappingNeed::no_nat
                                          : MappingNeed::unknown;
  if (mapper_.status().place == natted_) return;
  mapper_.handle(path::PlaceChanged{.place = natted_,
                                    .nonce = natted_ ? nonce_of(*natted_) : wire::MappingNonce{}},
                 now);
  take_outputs();
}

// nonce_of differs from gateway to gateway, so that none learns what we are called at another.
wire::MappingNonce MappedPort::nonce_of(const path::MappingPlace& place) const {
  const std::string text = place.gateway.to_text() + " " + place.internal.to_text();
  const Digest tag = crypto::hmac_sha256(config_.nonce_key.bytes, as_bytes(text));
  wire::MappingNonce nonce;
  std::ranges::copy_n(tag.bytes.begin(), nonce.bytes.size(), nonce.bytes.begin());
  return nonce;
}

bool MappedPort::handle(const quic::ReceivedDatagrams& datagrams, const Now& now) {
  if (!mapper_.is_gateway(datagrams.remote)) return false;
  BytesView rest = datagrams.bytes;
  const std::size_t size = datagrams.segment_size == 0 ? rest.size() : datagrams.segment_size;
  while (!rest.empty()) {
    const BytesView datagram = rest.first(std::min(size, rest.size()));
    rest = rest.subspan(datagram.size());
    mapper_.handle(path::GatewayAnswered{.source = datagrams.remote, .datagram = datagram}, now);
  }
  take_outputs();
  return true;
}

void MappedPort::upnp_answered(const path::UpnpAnswer& answer, const Now& now) {
  std::visit([this, &now](const auto& each) { mapper_.handle(each, now); }, answer);
  take_outputs();
}

void MappedPort::handle_timeout(const Now& now) {
  mapper_.handle_timeout(now);
  take_outputs();
}

bool MappedPort::leave(const Now& now) {
  config_.is_wanted = false;
  if (!mapper_.status().place) return false;
  mapper_.handle(path::PlaceChanged{.place = std::nullopt, .nonce = {}}, now);
  take_outputs();
  return true;
}

std::optional<quic::Transmit> MappedPort::poll_transmit(std::span<std::byte> buffer) {
  if (requests_.empty()) return std::nullopt;
  const path::SendToGateway request = std::move(requests_.front());
  requests_.pop_front();
  if (request.datagram.size() > buffer.size()) return std::nullopt;
  std::ranges::copy(request.datagram, buffer.begin());
  return quic::Transmit{.remote = request.target,
                        .size = request.datagram.size(),
                        .segment_size = request.datagram.size()};
}

std::optional<MappedPort::Event> MappedPort::poll_event() {
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

std::optional<SocketAddress> MappedPort::external() const {
  const path::MappingStatus status = mapper_.status();
  return status.mapping ? std::optional(status.mapping->external) : std::nullopt;
}

void MappedPort::take_outputs() {
  while (auto output = mapper_.poll_output()) {
    if (auto* request = std::get_if<path::SendToGateway>(&*output)) {
      if (requests_.size() < config_.requests_queued_max) requests_.push_back(std::move(*request));
    } else if (const auto* wanted = std::get_if<path::UpnpWanted>(&*output)) {
      events_.emplace_back(*wanted);
    } else if (std::holds_alternative<path::UpnpUnwanted>(*output)) {
      events_.emplace_back(path::UpnpUnwanted{});
    } else {
      note_change();
    }
  }
}

// note_change tells what the mapper has become, once.
void MappedPort::note_change() {
  const path::MappingStatus status = mapper_.status();
  const Told now{.external = external(), .failure = status.failure};
  const Told before = std::exchange(told_, now);
  if (before == now) return;
  if (before.external != now.external) events_.emplace_back(path::MappingChanged{});
  if (status.mapping) {
    events_.emplace_back(Notice{.level = NoticeLevel::info,
                                .message = "the gateway maps our port",
                                .fields = {{"by", std::string(to_text(status.mapping->method))},
                                           {"external", status.mapping->external.to_text()}}});
  } else if (status.failure) {
    events_.emplace_back(Notice{.level = NoticeLevel::info,
                                .message = before.external ? "the port mapping is lost"
                                                           : "the gateway does not map our port",
                                .fields = {{"reason", std::string(explain(*status.failure))}}});
  }
}

}  // namespace zt::node
