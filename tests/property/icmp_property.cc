// SPDX-License-Identifier: Apache-2.0
// Whatever packet is answered: its receiver finds all checksums right by the plain sum of RFC 1071,
// the quote is the front of the packet, and the answer is no longer than the packet.

#include <algorithm>
#include <array>
#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "zt/base/random.h"
#include "zt/wire/icmp.h"

namespace zt::wire {
namespace {

// Words is a receiver's view: big-endian pairs of bytes, the last one filled up with zero.
std::vector<std::uint32_t> words_of(BytesView bytes) {
  std::vector<std::uint32_t> words((bytes.size() + 1) / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto value = std::to_integer<std::uint32_t>(bytes[i]);
    words[i / 2] += i % 2 == 0 ? value * 256 : value;
  }
  return words;
}

// verifies adds with an end-around carry at each step, and expects all ones.
bool verifies(std::initializer_list<BytesView> parts) {
  std::uint32_t sum = 0;
  for (const BytesView part : parts) {
    for (const std::uint32_t word : words_of(part)) {
      sum += word;
      if (sum > 0xffff) sum -= 0xffff;
    }
  }
  return sum == 0xffff;
}

Bytes octets_of(const IpAddress& address) {
  Bytes octets;
  for (std::size_t i = 0; i < (address.is_v4() ? 4U : 16U); ++i) {
    octets.push_back(std::byte{address.octets()[i]});
  }
  return octets;
}

Bytes number(std::uint32_t value) {
  return {std::byte(value >> 24U), std::byte((value >> 16U) & 0xffU),
          std::byte((value >> 8U) & 0xffU), std::byte(value & 0xffU)};
}

IpAddress random_address(Random& random, bool is_v4) {
  std::array<std::byte, 16> bytes{};
  random.fill(bytes);
  std::array<std::uint8_t, 16> octets{};
  std::ranges::transform(bytes, octets.begin(),
                         [](std::byte byte) { return std::to_integer<std::uint8_t>(byte); });
  if (is_v4) return IpAddress::v4({octets[0], octets[1], octets[2], octets[3]});
  return IpAddress::v6(octets);
}

std::uint32_t read(BytesView bytes, std::size_t at, std::size_t size) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < size; ++i) {
    value = value * 256 + std::to_integer<std::uint32_t>(bytes[at + i]);
  }
  return value;
}

void check(const InvokingPacket& packet, std::size_t payload_size_max, const PacketTooBig& told) {
  const bool is_v4 = packet.source.ip.is_v4();
  const std::size_t ip_size = is_v4 ? 20 : 40;
  const BytesView message(told.message);
  const Bytes source = octets_of(packet.source.ip);
  const Bytes destination = octets_of(packet.destination.ip);
  const std::size_t packet_size = ip_packet_size(packet.source.ip, packet.payload.size());

  CHECK(message.size() + ip_size <= packet_size);
  CHECK(message.size() + ip_size <= (is_v4 ? 576U : 1280U));
  CHECK(told.mtu < packet_size);
  CHECK(told.mtu >= ip_packet_size(packet.source.ip, payload_size_max));
  CHECK(read(message, 4, 4) == told.mtu);
  if (is_v4) {
    CHECK(verifies({message}));
    CHECK(verifies({message.subspan(8, 20)}));
  } else {
    // From the address that the packet went to: the pseudo-header is of the answer.
    CHECK(verifies({destination, source, number(static_cast<std::uint32_t>(message.size())),
                    number(58), message}));
  }
  const BytesView quote = message.subspan(8);
  const std::size_t addresses_at = is_v4 ? 12 : 8;
  CHECK(std::ranges::equal(quote.subspan(addresses_at, source.size()), source));
  CHECK(
      std::ranges::equal(quote.subspan(addresses_at + source.size(), source.size()), destination));
  const BytesView udp = quote.subspan(ip_size, 8);
  CHECK(read(udp, 0, 2) == packet.source.port);
  CHECK(read(udp, 2, 2) == packet.destination.port);
  CHECK(read(udp, 4, 2) == 8 + packet.payload.size());
  CHECK(read(udp, 6, 2) != 0);
  CHECK(
      verifies({source, destination, number(static_cast<std::uint32_t>(8 + packet.payload.size())),
                number(17), udp, packet.payload}));
  const BytesView rest = quote.subspan(ip_size + 8);
  CHECK(std::ranges::equal(rest, packet.payload.first(rest.size())));
}

TEST_CASE("any answer is right in the eyes of its receiver", "[property][rfc1071]") {
  const std::uint64_t seed = Catch::getSeed();
  CAPTURE(seed);
  SeededRandom random(seed);
  Bytes payload;
  std::size_t answered = 0;
  for (int i = 0; i < 5000; ++i) {
    const bool is_v4 = random.below(2) == 0;
    payload.resize(random.below(random.below(8) == 0 ? 65508 : 3000));
    random.fill(payload);
    if (random.below(8) == 0) std::ranges::fill(payload, std::byte{0xff});
    const InvokingPacket packet{
        .source = {random_address(random, is_v4), static_cast<std::uint16_t>(random.below(65536))},
        .destination = {random_address(random, is_v4),
                        static_cast<std::uint16_t>(random.below(65536))},
        .payload = payload};
    const std::size_t payload_size_max = random.below(1500);
    const auto told = packet_too_big(packet, payload_size_max);
    if (!told) continue;
    ++answered;
    check(packet, payload_size_max, *told);
  }
  CHECK(answered > 500);
}

}  // namespace
}  // namespace zt::wire
