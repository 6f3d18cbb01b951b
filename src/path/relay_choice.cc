// SPDX-License-Identifier: Apache-2.0
#include "zt/path/relay_choice.h"

#include <algorithm>
#include <ranges>
#include <tuple>

namespace zt::path {

namespace {

constexpr Duration kBandMin = std::chrono::milliseconds(10);
constexpr int kBandShare = 5;  // A fifth of the round trip.

// band_of returns how much farther counts as near.
Duration band_of(Duration round_trip) {
  return std::max(kBandMin, round_trip / kBandShare);
}

}  // namespace

// FNV-1a, and then the finisher of MurmurHash3, without which short names differ in few bits.
std::uint64_t rendezvous(std::string_view node, std::string_view thing) {
  std::uint64_t hash = 0xcbf29ce484222325;
  const auto add = [&hash](std::string_view text) {
    for (const char c : text) {
      hash ^= static_cast<unsigned char>(c);
      hash *= 0x100000001b3;
    }
    hash ^= 0xff;  // Ends a text: no text has this byte.
    hash *= 0x100000001b3;
  };
  add(node);
  add(thing);
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccd;
  hash ^= hash >> 33;
  hash *= 0xc4ceb9fe1a85ec53;
  hash ^= hash >> 33;
  return hash;
}

bool is_much_nearer(const std::optional<Duration>& a, const std::optional<Duration>& b) {
  if (!a) return false;
  return !b || *b - *a > band_of(*a);
}

std::vector<RelayOption> in_order(std::vector<RelayOption> options, std::string_view node) {
  std::ranges::sort(options, {}, [](const RelayOption& option) {
    return std::tuple(option.round_trip.value_or(Duration::max()), option.relay.text);
  });
  for (auto first = options.begin(); first != options.end();) {
    const auto last = std::find_if(first, options.end(), [&](const RelayOption& option) {
      return is_much_nearer(first->round_trip, option.round_trip);
    });
    std::sort(first, last, [&](const RelayOption& a, const RelayOption& b) {
      return std::tuple(a.load, rendezvous(node, a.relay.text), a.relay.text) <
             std::tuple(b.load, rendezvous(node, b.relay.text), b.relay.text);
    });
    first = last;
  }
  return options;
}

std::optional<RelayId> choose_relay(const std::vector<RelayOption>& options, std::string_view node,
                                    const RelayId& current) {
  if (options.empty()) return std::nullopt;
  return choose_legs(options, node, {current}, 1).front();
}

std::vector<RelayId> choose_legs(const std::vector<RelayOption>& options, std::string_view node,
                                 const std::set<RelayId>& held, std::size_t count) {
  const std::vector<RelayOption> ordered = in_order(options, node);
  count = std::min(count, ordered.size());
  std::vector<RelayOption> chosen(ordered.begin(), ordered.begin() + std::ptrdiff_t(count));
  // The nearest that would have to go first: it takes its place back from the worst newcomer.
  for (std::size_t i = count; i < ordered.size(); ++i) {
    const RelayOption& leaver = ordered[i];
    if (!held.contains(leaver.relay)) continue;
    const auto newcomer =
        std::ranges::find_if(std::views::reverse(chosen), [&](const auto& option) {
          return !held.contains(option.relay) &&
                 !is_much_nearer(option.round_trip, leaver.round_trip);
        });
    if (newcomer != chosen.rend()) *newcomer = leaver;
  }
  chosen = in_order(std::move(chosen), node);
  std::vector<RelayId> relays;
  relays.reserve(chosen.size());
  for (RelayOption& option : chosen) relays.push_back(std::move(option.relay));
  return relays;
}

}  // namespace zt::path
