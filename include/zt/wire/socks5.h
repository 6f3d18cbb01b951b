// SPDX-License-Identifier: Apache-2.0
#pragma once
// wire/socks5.h: the server's side of SOCKS5 (RFC 1928), without authentication.
//
// Theory of operation
//   Each message is parsed from the front of what has arrived: the answer is the message and its
//   size, "more bytes are needed", or an error that names the reply to send before closing. The
//   parsers keep nothing between calls; a message has at most kSocksMessageSizeMax bytes, therefore
//   parsing anew when more arrives costs nothing.
// Limits: CONNECT and UDP ASSOCIATE; BIND and fragments of UDP datagrams are refused. The only
// method
//   is "no authentication": the listener is on loopback, and credentials that nobody checks would
//   be a promise that nobody keeps.
// Threats: a client may be a web page that speaks HTTP to this port; the version byte refuses it.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>

#include "zt/base/bytes.h"
#include "zt/base/host.h"
#include "zt/base/ip.h"

namespace zt::wire {

// kSocksMessageSizeMax is the longest request or greeting: a name of 255 bytes, and 257.
inline constexpr std::size_t kSocksMessageSizeMax = 262;

// SocksReply is REP of RFC 1928 section 6.
enum class SocksReply : std::uint8_t {
  succeeded = 0,
  general_failure = 1,
  not_allowed = 2,
  network_unreachable = 3,
  host_unreachable = 4,
  connection_refused = 5,
  ttl_expired = 6,
  command_not_supported = 7,
  address_type_not_supported = 8,
};

enum class SocksCommand : std::uint8_t { connect = 1, udp_associate = 3 };

// SocksError tells why a message cannot be one.
enum class SocksError : std::uint8_t {
  wrong_version,         // Not SOCKS5. Close without an answer.
  malformed,             // A reserved byte is set or the host is none. Reply general_failure.
  unknown_command,       // Reply command_not_supported.
  unknown_address_type,  // Reply address_type_not_supported.
};

// to_reply returns the reply that a request with this error gets.
[[nodiscard]] SocksReply to_reply(SocksError error);

// Parsed is a message and how many bytes it took from the front of the input.
template <class Message>
struct Parsed {
  Message message;
  std::size_t size = 0;
};

// ParsedOrMore is a parsed message; an empty optional if it is not whole yet; or an error.
template <class Message>
using ParsedOrMore = std::expected<std::optional<Parsed<Message>>, SocksError>;

// SocksGreeting is what the client offers first (RFC 1928 section 3).
struct SocksGreeting {
  bool has_no_authentication = false;  // The method that we can choose is among the offered.
};

// SocksRequest is RFC 1928 section 4. `target` of udp_associate is where the client will send from,
// and its port may be 0.
struct SocksRequest {
  SocksCommand command = SocksCommand::connect;
  Authority target;
};

[[nodiscard]] ParsedOrMore<SocksGreeting> parse_socks_greeting(BytesView input);
[[nodiscard]] ParsedOrMore<SocksRequest> parse_socks_request(BytesView input);

// encode_socks_choice answers a greeting: "no authentication", or "no acceptable methods", after
// which the client closes.
[[nodiscard]] Bytes encode_socks_choice(const SocksGreeting& greeting);

// encode_socks_reply answers a request. `bound` is the address of the relay for udp_associate, and
// 0.0.0.0:0 where there is none to tell.
[[nodiscard]] Bytes encode_socks_reply(SocksReply reply, const SocketAddress& bound);

// SocksDatagram is a UDP datagram between client and relay (RFC 1928 section 7).
struct SocksDatagram {
  Authority peer;     // Where it goes, or where it came from.
  BytesView payload;  // Borrowed.
};

// parse_socks_datagram returns nothing for fragments, malformed headers and port 0: drop them.
[[nodiscard]] std::optional<SocksDatagram> parse_socks_datagram(BytesView datagram);
[[nodiscard]] Bytes encode_socks_datagram(const SocksDatagram& datagram);

}  // namespace zt::wire
