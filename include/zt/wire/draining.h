// SPDX-License-Identifier: Apache-2.0
#pragma once
// wire/draining.h: how one that will end soon tells its peers ahead.
//
// Theory of operation
//   Who drains starts nothing new, keeps what there is for a while, and ends. It says so by an
//   empty capsule on a stream that both sides hold open anyway: a relay on each zt-bind stream, a
//   connector on each zt-paths stream. HTTP/3's GOAWAY would say more than is meant: what lives on
//   the connection still has requests to make (a renewed grant, a renewed relay token).
//
//   Who asks for something new all the same is refused with 503 and the field `zt-draining: ?1`:
//   go to another one at once. Nobody has to know the capsule: the refusal is enough, and costs a
//   round trip.
//
// Threats: whoever says this could as well have gone silent; it gains nothing by it.

#include <cstddef>
#include <string_view>

#include "zt/wire/capsule.h"

namespace zt::wire {

// kDrainingCapsule is of nobody's registry, and none of those that RFC 9297 section 5.4 reserves
// for exercise. Its value is empty; what a later version puts there is ignored.
inline constexpr CapsuleType kDrainingCapsule{0x1a7a7402};
static_assert((0x1a7a7402 - 0x17) % 0x29 != 0);
// kDrainingValueSizeMax is for CapsuleParser.
inline constexpr std::size_t kDrainingValueSizeMax = 64;

// kDrainingField is the field of a refusal, an RFC 8941 boolean.
inline constexpr std::string_view kDrainingField = "zt-draining";
inline constexpr std::string_view kDrainingValue = "?1";

}  // namespace zt::wire
