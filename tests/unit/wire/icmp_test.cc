// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/icmp.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <string>

#include "zt/wire/cursor.h"

namespace zt::wire {
namespace {

SocketAddress address(std::string_view text) {
  return SocketAddress::parse(text).value();
}

const SocketAddress kApplicationV4 = address("10.1.0.2:40000");
const SocketAddress kPortV4 = address("10.1.0.1:53");
const SocketAddress kApplicationV6 = address("[fd00::2]:40000");
const SocketAddress kPortV6 = address("[fd00::1]:53");

PacketTooBig answer(const SocketAddress& source, const SocketAddress& destination,
                    std::size_t payload_size, std::size_t payload_size_max) {
  const Bytes payload(payload_size, std::byte{0x5a});
  auto answer = packet_too_big({.source = source, .destination = destination, .payload = payload},
                               payload_size_max);
  REQUIRE(answer);
  return std::move(*answer);
}

bool is_answered(const SocketAddress& source, const SocketAddress& destination,
                 std::size_t payload_size, std::size_t payload_size_max) {
  const Bytes payload(payload_size);
  return packet_too_big({.source = source, .destination = destination, .payload = payload},
                        payload_size_max)
      .has_value();
}

TEST_CASE("an IPv4 sender is told the next-hop MTU by fragmentation needed", "[rfc1191-4]") {
  const PacketTooBig told = answer(kApplicationV4, kPortV4, 1400, 1300);
  CHECK(told.mtu == 1328);
  Reader reader(told.message);
  CHECK(reader.u8() == 3);  // Destination Unreachable
  CHECK(reader.u8() == 4);  // fragmentation needed and DF set
  CHECK(reader.u16());
  CHECK(reader.u16() == 0);
  CHECK(reader.u16() == 1328);
  // The quoted packet, as far as it has room.
  CHECK(to_hex(reader.bytes(20).value()) == "4500059400004000401121550a0100020a010001");
  CHECK(to_hex(reader.bytes(6).value()) == "9c4000350580");
  CHECK(reader.u16());
  const BytesView quoted = reader.rest();
  CHECK(std::ranges::count(quoted, std::byte{0x5a}) == 576 - 20 - 8 - 28);
}

TEST_CASE("an IPv6 sender is told the MTU by Packet Too Big", "[rfc4443-3.2]") {
  const PacketTooBig told = answer(kApplicationV6, kPortV6, 1500, 1300);
  CHECK(told.mtu == 1348);
  Reader reader(told.message);
  CHECK(reader.u16() == 0x0200);
  CHECK(reader.u16());
  CHECK(reader.u32() == 1348);
  CHECK(to_hex(reader.bytes(8).value()) == "6000000005e41140");
  CHECK(to_hex(reader.bytes(32).value()) ==
        "fd000000000000000000000000000002fd000000000000000000000000000001");
  CHECK(to_hex(reader.bytes(6).value()) == "9c40003505e4");
  CHECK(reader.u16());
  CHECK(reader.rest().size() == 1280 - 40 - 8 - 48);
}

TEST_CASE("an answer is never longer than its packet, nor than the RFCs allow",
          "[rfc1812-4.3.2.3][rfc4443-2.4]") {
  struct Row {
    bool is_v4;
    std::size_t payload;
    std::size_t message;  // With its IP header; 0: none.
  };
  for (const Row row : {Row{true, 27, 0}, Row{true, 28, 56}, Row{true, 29, 57}, Row{true, 547, 575},
                        Row{true, 548, 576}, Row{true, 549, 576}, Row{true, 65507, 576},
                        Row{false, 1232, 0}, Row{false, 1233, 1280}, Row{false, 65527, 1280}}) {
    CAPTURE(row.is_v4, row.payload);
    const auto& source = row.is_v4 ? kApplicationV4 : kApplicationV6;
    const auto& destination = row.is_v4 ? kPortV4 : kPortV6;
    if (row.message == 0) {
      CHECK_FALSE(is_answered(source, destination, row.payload, 20));
      continue;
    }
    const std::size_t header_size = row.is_v4 ? 20 : 40;
    CHECK(answer(source, destination, row.payload, 20).message.size() + header_size == row.message);
  }
}

TEST_CASE("IPv6 is never told less than 1280, nor anything below that", "[rfc8201-4]") {
  CHECK(answer(kApplicationV6, kPortV6, 1400, 1233).mtu == 1281);
  CHECK(answer(kApplicationV6, kPortV6, 1400, 1232).mtu == 1280);
  CHECK(answer(kApplicationV6, kPortV6, 1400, 1100).mtu == 1280);
  CHECK(answer(kApplicationV6, kPortV6, 1233, 1100).mtu == 1280);
  CHECK_FALSE(is_answered(kApplicationV6, kPortV6, 1232, 1100));
}

TEST_CASE("what fits is not answered") {
  CHECK(is_answered(kApplicationV4, kPortV4, 1301, 1300));
  CHECK_FALSE(is_answered(kApplicationV4, kPortV4, 1300, 1300));
  CHECK(is_answered(kApplicationV6, kPortV6, 1301, 1300));
  CHECK_FALSE(is_answered(kApplicationV6, kPortV6, 1300, 1300));
}

TEST_CASE("what IP does not have is not answered") {
  CHECK(is_answered(kApplicationV4, kPortV4, 65507, 1300));
  CHECK_FALSE(is_answered(kApplicationV4, kPortV4, 65508, 1300));
  CHECK(is_answered(kApplicationV6, kPortV6, 65527, 1300));
  CHECK_FALSE(is_answered(kApplicationV6, kPortV6, 65528, 1300));
  CHECK_FALSE(is_answered(kApplicationV6, kPortV4, 1400, 1300));
  CHECK_FALSE(is_answered(kApplicationV4, kPortV6, 1400, 1300));
}

TEST_CASE("nothing answers what is from or to more than one host, or from nobody",
          "[rfc1122-3.2.2][rfc4443-2.4]") {
  for (const char* text : {"224.0.0.1:9", "239.255.255.255:9", "255.255.255.255:9", "0.0.0.0:9",
                           "[ff02::1]:9", "[ff0e::1]:9", "[::]:9", "[::ffff:224.0.0.1]:9"}) {
    CAPTURE(text);
    const SocketAddress many = address(text);
    const SocketAddress one = many.ip.is_v4() ? kPortV4 : kPortV6;
    CHECK_FALSE(is_answered(many, one, 1400, 1300));
    CHECK_FALSE(is_answered(one, many, 1400, 1300));
  }
  for (const char* text : {"127.0.0.1:9", "169.254.1.1:9", "[::1]:9", "[fe80::1]:9"}) {
    CAPTURE(text);
    const SocketAddress source = address(text);
    CHECK(is_answered(source, source.ip.is_v4() ? kPortV4 : kPortV6, 1400, 1300));
  }
}

}  // namespace
}  // namespace zt::wire
