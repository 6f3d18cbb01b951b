// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/probe.h"

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "zt/base/random.h"
#include "zt/wire/cursor.h"
#include "zt/wire/quic_packet.h"

namespace zt::wire {
namespace {

// KeyedSum stands for a MAC: it depends on each bit and on the key (FNV-1a), and is none.
struct KeyedSum {
  std::uint8_t key = 1;
  ProbeMac operator()(BytesView bytes) const {
    std::uint64_t sum = 0xcbf29ce484222325 ^ key;
    for (const std::byte byte : bytes) {
      sum = (sum ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3;
    }
    ProbeMac mac;
    Writer writer(mac.bytes);
    writer.u64(sum);
    writer.u64(~sum);
    return mac;
  }
};

SocketAddress address(std::string_view text) {
  return SocketAddress::parse(text).value();
}

ProbeLabel label_of(std::uint64_t seed) {
  SeededRandom random(seed);
  ProbeLabel label;
  random.fill(label.bytes);
  return label;
}

Probe ping() {
  return {.kind = ProbeKind::ping,
          .sender = ProbeSender::client,
          .label = label_of(1),
          .transaction = 0x0102030405060708,
          .nonce = {{std::byte{9}, std::byte{8}}},
          .pair = 7,
          .observed = {}};
}

Probe pong(std::string_view observed) {
  Probe probe = ping();
  probe.kind = ProbeKind::pong;
  probe.sender = ProbeSender::connector;
  probe.observed = address(observed);
  return probe;
}

TEST_CASE("what is sealed opens with the same key") {
  for (const Probe& probe : {ping(), pong("198.18.0.1:443"), pong("[2001:db9::1]:65535")}) {
    CHECK(open_probe(seal_probe(probe, KeyedSum{}), KeyedSum{}) == probe);
  }
}

TEST_CASE("a probe has the bytes that the header draws") {
  const ProbeBytes bytes = encode_probe({.kind = ProbeKind::pong,
                                         .sender = ProbeSender::connector,
                                         .label = {},
                                         .transaction = 2,
                                         .nonce = {{std::byte{0xfe}}},
                                         .pair = 3,
                                         .observed = address("198.18.0.1:443")});
  CHECK(to_hex(bytes) ==
        "0b010202"
        "0000000000000000"
        "0000000000000002"
        "fe00000000000000"
        "00000003"
        "04c6120001000000000000000000000000"
        "01bb"
        "00000000000000000000000000000000");
}

TEST_CASE("a probe is not QUIC, and QUIC is no probe", "[rfc9443-3]") {
  CHECK_FALSE(has_fixed_bit(encode_probe(ping())));
  CHECK_FALSE(route_of(encode_probe(ping())).has_value());
  for (unsigned first = 0; first < 256; ++first) {
    const Bytes datagram(kProbeSize, std::byte(first));
    CHECK(is_probe(datagram) == (first == 0x0b));
  }
  CHECK_FALSE(is_probe({}));
}

TEST_CASE("a ping and its pong have one size", "[threat]") {
  STATIC_REQUIRE(sizeof(ProbeBytes) == kProbeSize);
  CHECK(probe_content(encode_probe(ping())).size() + ProbeMac::kSize == kProbeSize);
}

TEST_CASE("a probe of another key is forged", "[threat]") {
  const ProbeBytes bytes = seal_probe(ping(), KeyedSum{1});
  CHECK(open_probe(bytes, KeyedSum{2}) == std::unexpected(ProbeError::forged));
}

TEST_CASE("no bit of a probe can be turned over", "[threat]") {
  const ProbeBytes whole = seal_probe(pong("198.18.0.1:443"), KeyedSum{});
  for (std::size_t bit = 0; bit < kProbeSize * 8; ++bit) {
    CAPTURE(bit);
    ProbeBytes bytes = whole;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    CHECK_FALSE(open_probe(bytes, KeyedSum{}).has_value());
  }
}

TEST_CASE("a probe of any other size is malformed") {
  Bytes bytes(kProbeSize + 1);
  const ProbeBytes whole = seal_probe(ping(), KeyedSum{});
  std::ranges::copy(whole, bytes.begin());
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    CAPTURE(size);
    const auto opened = open_probe(BytesView(bytes).first(size), KeyedSum{});
    CHECK(opened.has_value() == (size == kProbeSize));
  }
}

TEST_CASE("a probe with the right tag still has only one encoding") {
  struct Row {
    const char* what;
    std::size_t at;
    unsigned value;
    bool is_pong;
  };
  constexpr Row kRows[] = {
      {"version", 1, 2, false},
      {"kind zero", 2, 0, false},
      {"kind three", 2, 3, false},
      {"sender zero", 3, 0, false},
      {"sender three", 3, 3, false},
      {"a ping with an address", 38, 1, false},
      {"a ping with a port", 50, 1, false},
      {"a ping that is a pong", 2, 2, false},
      {"a pong that is a ping", 2, 1, true},
      {"an unknown family", 32, 5, true},
      {"a pong without family", 32, 0, true},
      {"IPv4 with a tail", 48, 1, true},
  };
  for (const Row& row : kRows) {
    CAPTURE(row.what);
    ProbeBytes bytes = encode_probe(row.is_pong ? pong("198.18.0.1:443") : ping());
    bytes[row.at] = std::byte(row.value);
    const ProbeMac mac = KeyedSum{}(probe_content(bytes));
    std::ranges::copy(mac.bytes, bytes.end() - ProbeMac::kSize);
    CHECK(open_probe(bytes, KeyedSum{}) == std::unexpected(ProbeError::malformed));
  }
}

TEST_CASE("the label is known before the key is") {
  const ProbeBytes bytes = seal_probe(ping(), KeyedSum{});
  CHECK(probe_label_of(bytes) == label_of(1));
  ProbeBytes other = bytes;
  other[0] = std::byte{0x0c};
  CHECK_FALSE(probe_label_of(other).has_value());
}

}  // namespace
}  // namespace zt::wire
