// SPDX-License-Identifier: Apache-2.0
#include "node/link.h"

#include <algorithm>
#include <utility>

namespace zt::node {

namespace {

std::string milliseconds_text(Duration duration) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

}  // namespace

Link::Link(const Config& config, Credential credential, Random& random)
    : endpoint_(config.endpoint, random),
      controller_(config.controller, std::move(credential), endpoint_, random),
      relays_(config.relays, endpoint_, random) {}

void Link::start(const Now& now) {
  controller_.start(now);
}

void Link::handle(const quic::ReceivedDatagrams& datagrams, const Now& now) {
  endpoint_.handle(datagrams, now.instant);
}

void Link::handle_timeout(const Now& now) {
  endpoint_.handle_timeout(now.instant);
  controller_.handle_timeout(now);
  relays_.handle_timeout(now);
}

bool Link::lookup_done(LookupKey key, const std::vector<IpAddress>& addresses, const Now& now) {
  const auto found = lookups_.find(key);
  if (found == lookups_.end()) return false;
  const LookupOwner owner = std::move(found->second);
  lookups_.erase(found);
  if (const auto* relay = std::get_if<RelayId>(&owner)) {
    relays_.lookup_done(*relay, addresses, now);
  } else {
    controller_.lookup_done(addresses, now);
  }
  return true;
}

std::optional<Link::Event> Link::poll_event(const Now& now) {
  if (events_.empty()) {
    take_endpoint_events(now);
    take_session_events(now);
    take_relay_events();
  }
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

std::optional<Instant> Link::next_deadline() const {
  return earlier_of(endpoint_.next_deadline(),
                    earlier_of(controller_.next_deadline(), relays_.next_deadline()));
}

const RelayPlace* Link::place_of(const RelayId& relay) const {
  const auto found = std::ranges::find(places_, relay, &RelayPlace::id);
  return found == places_.end() ? nullptr : &*found;
}

void Link::take_endpoint_events(const Now& now) {
  while (auto event = endpoint_.poll_event()) {
    if (controller_.handle(*event, now)) continue;
    if (relays_.handle(*event, now)) continue;
    events_.emplace_back(std::move(*event));
  }
}

void Link::take_session_events(const Now& now) {
  while (auto event = controller_.poll_event()) {
    if (auto* wanted = std::get_if<LookupWanted>(&*event)) {
      const LookupKey key = look_up(OfController{});
      events_.emplace_back(Lookup{.key = key, .name = wanted->name});
      continue;
    }
    if (auto* down = std::get_if<SessionDown>(&*event)) {
      events_.emplace_back(Notice{
          .level = NoticeLevel::warn,
          .message = "the controller is away",
          .fields = {{"reason", down->reason}, {"retry_ms", milliseconds_text(down->wait)}}});
    }
    if (std::holds_alternative<SessionUp>(*event)) {
      events_.emplace_back(
          Notice{.level = NoticeLevel::info, .message = "connected to the controller"});
    }
    if (auto* told = std::get_if<Told>(&*event)) apply(told->message, now);
    std::visit(
        [this](auto& alternative) {
          using Alternative = std::decay_t<decltype(alternative)>;
          if constexpr (!std::is_same_v<Alternative, LookupWanted>) {
            events_.emplace_back(std::move(alternative));
          }
        },
        *event);
  }
}

void Link::take_relay_events() {
  while (auto event = relays_.poll_event()) {
    if (auto* wanted = std::get_if<RelayLookupWanted>(&*event)) {
      const LookupKey key = look_up(wanted->relay);
      events_.emplace_back(Lookup{.key = key, .name = wanted->name});
    } else if (auto* bound = std::get_if<RelayBound>(&*event)) {
      events_.emplace_back(Notice{.level = NoticeLevel::info,
                                  .message = "bound at a relay",
                                  .fields = {{"relay", bound->relay.text}}});
      events_.emplace_back(std::move(*bound));
    } else if (auto* unbound = std::get_if<RelayUnbound>(&*event)) {
      events_.emplace_back(Notice{.level = NoticeLevel::warn,
                                  .message = "not bound at a relay",
                                  .fields = {{"relay", unbound->relay.text},
                                             {"reason", unbound->reason},
                                             {"retry_ms", milliseconds_text(unbound->wait)}}});
      events_.emplace_back(std::move(*unbound));
    }
  }
}

// The role sees the message too, without what was taken out of it here: the pass.
void Link::apply(WatchMessage& message, const Now& now) {
  if (auto* snapshot = std::get_if<WatchSnapshot>(&message)) {
    places_ = snapshot->relays;
    relays_.set_relays(places_, now);
    if (snapshot->pass) relays_.set_pass(std::move(*snapshot->pass), now);
    snapshot->pass.reset();
  } else if (auto* relays = std::get_if<WatchRelays>(&message)) {
    places_ = relays->relays;
    relays_.set_relays(places_, now);
  } else if (auto* pass = std::get_if<WatchPass>(&message)) {
    relays_.set_pass(std::move(pass->pass), now);
  }
}

LookupKey Link::look_up(LookupOwner owner) {
  const LookupKey key = new_lookup_key();
  lookups_.emplace(key, std::move(owner));
  return key;
}

}  // namespace zt::node
