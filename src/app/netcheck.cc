// SPDX-License-Identifier: Apache-2.0
#include "app/netcheck.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include "app/table.h"
#include "wire/json.h"

namespace zt::app {

namespace {

using path::Chance;
using wire::Json;

std::string_view family_of(const SocketAddress& address) {
  return address.ip.is_v6() ? "IPv6" : "IPv4";
}

// --- The conclusion

std::string without_relay(const Netcheck& check) {
  if (check.relays.empty()) {
    return check.controller.is_up
               ? "nothing works: the controller knows no relay; zt admin relay token makes one"
               : fmt::format(
                     "nothing works until UDP to the controller, {}, is allowed and answered, or "
                     "TCP",
                     check.controller.address);
  }
  std::string addresses;
  for (const Netcheck::Relay& relay : check.relays) {
    if (relay.is_spare) continue;
    if (!addresses.empty()) addresses += " or ";
    addresses += relay.contact.address;
  }
  return fmt::format(
      "no relay is reached: nothing works until UDP to {} is allowed and answered, or TCP",
      addresses);
}

std::string_view carrier_of(bool is_tcp) {
  return is_tcp ? "TCP" : "UDP";
}

std::string_view with_whom(Chance chance) {
  switch (chance) {
    case Chance::any:
      return "with any peer";
    case Chance::most:
      return "with peers that have no NAT, or one with endpoint-independent mapping";
    case Chance::few:
      return "only with peers whose NAT is neither symmetric nor port-restricted";
    case Chance::unknown:
    case Chance::none:
      return "";
  }
  return "";
}

std::string about_direct_paths(const path::NatVerdict& nat) {
  const std::string_view otherwise = "; a relay carries what does not go directly";
  const Chance best = std::max(nat.v4.chance, nat.v6.chance);
  if (best == Chance::none) {
    return fmt::format("direct paths are possible within the local network only{}", otherwise);
  }
  if (best == Chance::unknown) {
    return fmt::format("whether peers elsewhere can be reached directly cannot be told{}",
                       otherwise);
  }
  if (nat.v4.chance == best) {
    return fmt::format("direct paths are likely {}{}", with_whom(best),
                       best == Chance::any ? "" : otherwise);
  }
  std::string sentence = fmt::format("direct paths are likely {} over IPv6", with_whom(best));
  const std::string_view over_v4 = with_whom(nat.v4.chance);
  if (!over_v4.empty()) sentence += fmt::format(", and {} over IPv4", over_v4);
  return sentence.append(otherwise);
}

// --- JSON

void add_contact(Json& object, const Netcheck::Contact& contact) {
  object["address"] = contact.address;
  object["reason"] = contact.reason;
  if (contact.is_up) object["by"] = carrier_of(contact.is_over_tcp);
  if (contact.remote) {
    object["remote"] = contact.remote->to_text();
    object["family"] = family_of(*contact.remote);
  }
  if (contact.is_up && contact.round_trip) {
    object["round_trip_ms"] =
        std::chrono::duration<double, std::milli>(*contact.round_trip).count();
  }
  if (contact.observed) object["observed"] = contact.observed->to_text();
}

Json relay_json(const Netcheck::Relay& relay) {
  Json object = {{"id", relay.id.text},
                 {"name", relay.name},
                 {"bound", relay.contact.is_up},
                 {"spare", relay.is_spare},
                 {"silent", relay.is_silent}};
  add_contact(object, relay.contact);
  return object;
}

Json family_json(const path::FamilyVerdict& family) {
  Json addresses = Json::array();
  for (const IpAddress& address : family.addresses) addresses.push_back(address.to_text());
  return {{"addresses", std::move(addresses)},
          {"reach", path::to_text(family.reach)},
          {"reach_text", path::explain(family.reach)},
          {"mapping", path::to_text(family.mapping)},
          {"mapping_text", path::explain(family.mapping)},
          {"direct_peers", path::to_text(family.chance)}};
}

Json mapping_json(const Netcheck& check) {
  const path::MappingStatus& status = check.mapping;
  Json object = Json::object();
  if (status.place) object["gateway"] = status.place->gateway.to_text();
  if (const auto& mapping = status.mapping) {
    const auto lifetime = std::chrono::duration_cast<std::chrono::seconds>(mapping->lifetime);
    object["state"] = "mapped";
    object["by"] = to_text(mapping->method);
    object["external"] = mapping->external.to_text();
    object["lifetime_s"] = lifetime.count();
    object["text"] = fmt::format("{} by {}, for {} s and renewed", mapping->external.to_text(),
                                 to_text(mapping->method), lifetime.count());
  } else if (status.failure) {
    object["state"] = to_text(*status.failure);
    object["text"] = fmt::format("none: {}", explain(*status.failure));
  } else {
    object["state"] = to_text(check.mapping_need);
    object["text"] = explain(check.mapping_need);
  }
  return object;
}

// --- Text. What a client of another version leaves out is shown as nothing.

const Json& member(const Json& object, const char* name) {
  static const Json nothing;
  const auto found = object.find(name);
  return found == object.end() ? nothing : *found;
}

bool flag(const Json& object, const char* name) {
  return wire::boolean_member(object, name).value_or(false);
}

std::string list_text(const Json& list) {
  std::string text;
  for (const Json& entry : list) {
    if (!entry.is_string()) continue;
    if (!text.empty()) text += ", ";
    text += entry.get_ref<const std::string&>();
  }
  return text;
}

std::string round_trip_text(const Json& contact) {
  const Json& value = member(contact, "round_trip_ms");
  return value.is_number() ? fmt::format("{:.1f} ms", value.get<double>()) : "-";
}

// way_text is the address family, and TCP where that carries the datagrams.
std::string way_text(const Json& contact) {
  std::string text(wire::text_member(contact, "family").value_or("-"));
  if (wire::text_or_empty(contact, "by") == "TCP") text = "TCP, " + text;
  return text;
}

std::string away_text(const Json& contact) {
  const std::string reason = wire::text_or_empty(contact, "reason");
  return reason.empty() ? "being tried" : reason;
}

std::string controller_text(const Json& controller) {
  const std::string address = wire::text_or_empty(controller, "address");
  if (!flag(controller, "up")) return fmt::format("{} away: {}", address, away_text(controller));
  std::string text = fmt::format("{} up, by HTTP/3 over {}, round trip {}", address,
                                 way_text(controller), round_trip_text(controller));
  const std::string observed = wire::text_or_empty(controller, "observed");
  if (!observed.empty()) text += ", sees us at " + observed;
  return text;
}

std::string relay_state_text(const Json& relay) {
  if (flag(relay, "bound")) {
    if (flag(relay, "silent")) return "bound, but silent";
    return wire::text_or_empty(relay, "by") == "TCP" ? "bound; UDP is blocked" : "bound";
  }
  return flag(relay, "spare") ? "spare: enough others" : "not bound: " + away_text(relay);
}

// family_text is up to four lines: reach, addresses, NAT and hairpin.
std::string family_text(const char* name, const Json& family) {
  std::string text =
      fmt::format("{}        {}\n", name, printable(wire::text_or_empty(family, "reach_text")));
  const std::string addresses = list_text(member(family, "addresses"));
  if (!addresses.empty()) text += fmt::format("  addresses {}\n", printable(addresses));
  const std::string reach = wire::text_or_empty(family, "reach");
  if (reach == "usable") {
    text += fmt::format("  NAT       {}\n", printable(wire::text_or_empty(family, "mapping_text")));
    const std::string hairpin = printable(wire::text_or_empty(family, "hairpin_text"));
    if (!hairpin.empty()) text += fmt::format("  hairpin   {}\n", hairpin);
  }
  return text;
}

std::string mapping_text(const Json& mapping) {
  const std::string text = printable(wire::text_or_empty(mapping, "text"));
  if (text.empty()) return "";
  const std::string gateway = printable(wire::text_or_empty(mapping, "gateway"));
  if (gateway.empty()) return fmt::format("port map    {}\n", text);
  return fmt::format("port map    {} (gateway {})\n", text, gateway);
}

}  // namespace

bool Netcheck::is_udp_blocked() const {
  const auto is_up = [](const Contact& contact) { return contact.is_up; };
  const auto is_udp = [](const Contact& contact) { return contact.is_up && !contact.is_over_tcp; };
  const bool any_up = is_up(controller) || std::ranges::any_of(relays, is_up, &Relay::contact);
  return any_up && !is_udp(controller) && std::ranges::none_of(relays, is_udp, &Relay::contact);
}

bool Netcheck::is_working() const {
  return controller.is_up &&
         std::ranges::any_of(relays, [](const Relay& relay) { return relay.contact.is_up; });
}

Netcheck netcheck_of(const node::Link& link) {
  const path::NetworkFacts facts = link.network_facts();
  const node::ControllerSession& controller = link.controller();
  Netcheck check{.controller = {.address = controller.controller().to_text(),
                                .is_up = controller.is_up(),
                                .is_over_tcp = controller.is_over_tcp(),
                                .reason = controller.is_up() ? "" : controller.down_reason(),
                                .remote = controller.remote(),
                                .round_trip = controller.round_trip(),
                                .observed = controller.observed()},
                 .relays = {},
                 .is_always_relayed = link.paths().policy() == Paths::always_relay,
                 .port = facts.port,
                 .advertised = facts.advertised,
                 .nat = path::judge_network(facts),
                 .hairpin = link.hairpin(),
                 .mapping = link.mapping(),
                 .mapping_need = link.mapping_need()};
  for (const node::RelayPlace& place : link.places()) {
    Netcheck::Relay relay{
        .id = place.id, .name = place.name, .contact = {.address = place.address.to_text()}};
    if (const auto standing = link.relays().standing(place.id)) {
      relay.contact.is_up = standing->is_bound;
      relay.contact.is_over_tcp = standing->is_over_tcp;
      relay.is_silent = standing->is_silent;
      relay.contact.reason = standing->reason;
      relay.contact.remote = standing->remote;
      relay.contact.round_trip = standing->round_trip;
      relay.contact.observed = standing->observed;
    } else {
      relay.is_spare = true;
    }
    check.relays.push_back(std::move(relay));
  }
  return check;
}

std::string conclusion(const Netcheck& check) {
  const bool is_bound = std::ranges::any_of(
      check.relays, [](const Netcheck::Relay& relay) { return relay.contact.is_up; });
  if (!is_bound) return without_relay(check);
  if (!check.controller.is_up) {
    return fmt::format(
        "the controller is not reached: open flows go on until their grants end, and no new access "
        "is granted until UDP to {} is allowed and answered, or TCP",
        check.controller.address);
  }
  if (check.is_always_relayed) return "relayed only: UDP to peers is off by --always-relay";
  if (check.is_udp_blocked()) {
    return "UDP is blocked here: all goes by TCP through a relay, more slowly than by UDP, and "
           "direct paths are not possible; UDP is tried again now and then";
  }
  if (check.port == 0) {
    return "whether direct paths work cannot be told: this machine's addresses cannot be read";
  }
  if (check.mapping.mapping) {
    return "direct paths are likely with any peer: the gateway lets them in at a port of its own";
  }
  return about_direct_paths(check.nat);
}

std::string netcheck_json(const Netcheck& check) {
  Json object = {{"version", 1},
                 {"ok", true},
                 {"working", check.is_working()},
                 {"controller", {{"up", check.controller.is_up}, {"transport", "HTTP/3"}}},
                 {"relays", Json::array()},
                 {"udp_blocked", check.is_udp_blocked()},
                 {"udp_port", check.port},
                 {"always_relay", check.is_always_relayed},
                 {"advertised", Json::array()},
                 {"ipv4", family_json(check.nat.v4)},
                 {"ipv6", family_json(check.nat.v6)},
                 {"port_mapping", mapping_json(check)},
                 {"conclusion", conclusion(check)}};
  object["path_rules"] = Json::array();
  for (const Netcheck::PathRuleOf& entry : check.path_rules) {
    object["path_rules"].push_back({{"resource", entry.resource}, {"rule", entry.rule}});
  }
  object["ipv4"]["hairpin"] = path::to_text(check.hairpin);
  object["ipv4"]["hairpin_text"] = path::explain(check.hairpin);
  add_contact(object["controller"], check.controller);
  for (const Netcheck::Relay& relay : check.relays) object["relays"].push_back(relay_json(relay));
  for (const SocketAddress& address : check.advertised) {
    object["advertised"].push_back(address.to_text());
  }
  return wire::json_text(object);
}

bool is_working_netcheck(std::string_view json) {
  return flag(wire::parse_json_object(json), "working");
}

std::string netcheck_text(std::string_view json) {
  const Json object = wire::parse_json_object(json);
  if (!object.is_object()) return std::string(json);
  std::string shown;
  const auto out = std::back_inserter(shown);
  fmt::format_to(out, "controller  {}\n", printable(controller_text(member(object, "controller"))));
  const std::uint64_t port = wire::integer_member(object, "udp_port").value_or(0);
  fmt::format_to(out, "UDP port    {}\n", port == 0 ? "unknown" : std::to_string(port));
  const std::string advertised = list_text(member(object, "advertised"));
  if (!advertised.empty()) fmt::format_to(out, "advertised  {}\n", printable(advertised));
  if (flag(object, "always_relay")) shown += "policy      relays only (--always-relay)\n";
  if (port != 0) shown += family_text("IPv4", member(object, "ipv4"));
  if (port != 0) shown += family_text("IPv6", member(object, "ipv6"));
  if (port != 0) shown += mapping_text(member(object, "port_mapping"));
  Table relays({"RELAY", "ADDRESS", "BY", "ROUND TRIP", "SEES US AT", "STATE"});
  for (const Json& relay : member(object, "relays")) {
    relays.add({wire::text_or_empty(relay, "name"), wire::text_or_empty(relay, "address"),
                way_text(relay), round_trip_text(relay),
                std::string(wire::text_member(relay, "observed").value_or("-")),
                relay_state_text(relay)});
  }
  if (!relays.is_empty()) fmt::format_to(out, "\n{}", relays.to_text());
  for (const Json& entry : member(object, "path_rules")) {
    fmt::format_to(out, "\npath rule   \"{}\": {}",
                   printable(wire::text_or_empty(entry, "resource")),
                   printable(wire::text_or_empty(entry, "rule")));
  }
  fmt::format_to(out, "\nconclusion  {}\n", printable(wire::text_or_empty(object, "conclusion")));
  return shown;
}

}  // namespace zt::app
