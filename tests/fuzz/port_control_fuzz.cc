// SPDX-License-Identifier: Apache-2.0
// What a gateway answers, or somebody in its name: the format, and a mapper that hears it all.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/base/random.h"
#include "zt/path/port_mapping.h"
#include "zt/wire/port_control.h"

namespace {

using zt::path::PortMapper;

// Drains the mapper; what it says of itself is true afterwards.
void settle(PortMapper& mapper, const zt::Now& now) {
  std::size_t outputs = 0;
  while (mapper.poll_output()) ++outputs;
  ZT_ASSERT(outputs < 16);
  const zt::path::MappingStatus status = mapper.status();
  if (status.mapping) {
    ZT_ASSERT(zt::path::is_public(status.mapping->external.ip));
    ZT_ASSERT(status.mapping->external.port != 0);
    ZT_ASSERT(status.mapping->expires > now.instant);
  }
  const auto deadline = mapper.next_deadline();
  ZT_ASSERT(deadline && *deadline > now.instant);
}

}  // namespace

// The input is datagrams, each after one byte that says its size and how much time has passed.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto input = std::as_bytes(std::span(data, size));
  (void)zt::wire::parse_port_control(input);

  zt::SeededRandom random(1);
  PortMapper mapper(PortMapper::Limits{}, random);
  zt::Now now{zt::Instant(std::chrono::seconds(1000)), zt::UnixTime{}};
  const auto gateway = zt::IpAddress::v4({192, 168, 1, 1});
  mapper.handle(
      zt::path::PlaceChanged{
          .place = zt::path::MappingPlace{.gateway = gateway,
                                          .internal = {.ip = zt::IpAddress::v4({192, 168, 1, 2}),
                                                       .port = 41002}},
          .nonce = {}},
      now);
  settle(mapper, now);
  while (!input.empty()) {
    const auto step = std::to_integer<unsigned>(input[0]);
    input = input.subspan(1);
    const std::size_t taken = std::min<std::size_t>(step & 0x7fU, input.size());
    if ((step & 0x80U) != 0) {
      if (const auto deadline = mapper.next_deadline()) now.instant = *deadline;
      mapper.handle_timeout(now);
      settle(mapper, now);
    }
    mapper.handle(
        zt::path::GatewayAnswered{.source = {.ip = gateway, .port = zt::wire::kPortControlPort},
                                  .datagram = input.first(taken)},
        now);
    settle(mapper, now);
    input = input.subspan(taken);
  }
  return 0;
}
