// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/socks5.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <variant>

#include "zt/base/assert.h"
#include "zt/wire/cursor.h"

namespace zt::wire {
namespace {

constexpr std::uint8_t kVersion = 5;
constexpr std::uint8_t kNoAuthentication = 0;
constexpr std::uint8_t kNoAcceptableMethods = 0xff;
constexpr std::uint8_t kAddressV4 = 1;
constexpr std::uint8_t kAddressName = 3;
constexpr std::uint8_t kAddressV6 = 4;
// The longest ATYP, address and port: a name with its length.
constexpr std::size_t kAddressSizeMax = 1 + 1 + 255 + 2;

template <std::size_t Size>
std::array<std::uint8_t, Size> octets_from(BytesView bytes) {
  std::array<std::uint8_t, Size> octets{};
  std::ranges::transform(bytes, octets.begin(),
                         [](std::byte byte) { return std::to_integer<std::uint8_t>(byte); });
  return octets;
}

using HostOrMore = std::expected<std::optional<Host>, SocksError>;

HostOrMore read_name(Reader& reader) {
  const auto size = reader.u8();
  if (!size) return std::nullopt;
  const auto text = reader.bytes(*size);
  if (!text) return std::nullopt;
  // Programs put addresses here too; parse_host tells them from names.
  auto host = parse_host(as_text(*text));
  if (!host) return std::unexpected(SocksError::malformed);
  return host;
}

HostOrMore read_host(Reader& reader) {
  const auto type = reader.u8();
  if (!type) return std::nullopt;
  switch (*type) {
    case kAddressV4: {
      const auto bytes = reader.bytes(4);
      if (!bytes) return std::nullopt;
      return Host(IpAddress::v4(octets_from<4>(*bytes)));
    }
    case kAddressV6: {
      const auto bytes = reader.bytes(16);
      if (!bytes) return std::nullopt;
      return Host(IpAddress::v6(octets_from<16>(*bytes)));
    }
    case kAddressName:
      return read_name(reader);
    default:
      return std::unexpected(SocksError::unknown_address_type);
  }
}

// AuthorityOrMore: the port may be 0.
using AuthorityOrMore = std::expected<std::optional<Authority>, SocksError>;

AuthorityOrMore read_authority(Reader& reader) {
  auto host = read_host(reader);
  if (!host) return std::unexpected(host.error());
  std::optional<Host>& whole = *host;
  if (!whole) return std::nullopt;
  const auto port = reader.u16();
  if (!port) return std::nullopt;
  return Authority{*std::move(whole), *port};
}

void write_address(Writer& writer, const IpAddress& address) {
  writer.u8(address.is_v4() ? kAddressV4 : kAddressV6);
  writer.bytes(std::as_bytes(std::span(address.octets())).first(address.bit_count() / 8));
}

void write_authority(Writer& writer, const Authority& authority) {
  if (const auto* address = std::get_if<IpAddress>(&authority.host)) {
    write_address(writer, *address);
  } else {
    const std::string& name = std::get<DnsName>(authority.host).text();
    writer.u8(kAddressName);
    writer.u8(static_cast<std::uint8_t>(name.size()));  // A DnsName has at most 253 characters.
    writer.bytes(as_bytes(name));
  }
  writer.u16(authority.port);
}

Bytes copy_of(const Writer& writer) {
  ZT_ASSERT(writer.is_complete());
  return {writer.written().begin(), writer.written().end()};
}

}  // namespace

SocksReply to_reply(SocksError error) {
  switch (error) {
    case SocksError::wrong_version:
    case SocksError::malformed:
      return SocksReply::general_failure;
    case SocksError::unknown_command:
      return SocksReply::command_not_supported;
    case SocksError::unknown_address_type:
      return SocksReply::address_type_not_supported;
  }
  return SocksReply::general_failure;
}

ParsedOrMore<SocksGreeting> parse_socks_greeting(BytesView input) {
  Reader reader(input);
  const auto version = reader.u8();
  if (!version) return std::nullopt;
  if (*version != kVersion) return std::unexpected(SocksError::wrong_version);
  const auto count = reader.u8();
  if (!count) return std::nullopt;
  const auto methods = reader.bytes(*count);
  if (!methods) return std::nullopt;
  const bool has_method =
      std::ranges::find(*methods, std::byte{kNoAuthentication}) != methods->end();
  return Parsed<SocksGreeting>{.message = {.has_no_authentication = has_method},
                               .size = input.size() - reader.remaining_size()};
}

ParsedOrMore<SocksRequest> parse_socks_request(BytesView input) {
  Reader reader(input);
  const auto version = reader.u8();
  if (!version) return std::nullopt;
  if (*version != kVersion) return std::unexpected(SocksError::wrong_version);
  const auto command_number = reader.u8();
  if (!command_number) return std::nullopt;
  const auto command = static_cast<SocksCommand>(*command_number);
  const bool is_connect = command == SocksCommand::connect;
  if (!is_connect && command != SocksCommand::udp_associate) {
    return std::unexpected(SocksError::unknown_command);
  }
  const auto reserved = reader.u8();
  if (!reserved) return std::nullopt;
  if (*reserved != 0) return std::unexpected(SocksError::malformed);
  auto result = read_authority(reader);
  if (!result) return std::unexpected(result.error());
  std::optional<Authority>& target = *result;
  if (!target) return std::nullopt;
  if (is_connect && target->port == 0) return std::unexpected(SocksError::malformed);
  return Parsed<SocksRequest>{.message = {.command = command, .target = *std::move(target)},
                              .size = input.size() - reader.remaining_size()};
}

Bytes encode_socks_choice(const SocksGreeting& greeting) {
  std::array<std::byte, 2> space{};
  Writer writer(space);
  writer.u8(kVersion);
  writer.u8(greeting.has_no_authentication ? kNoAuthentication : kNoAcceptableMethods);
  return copy_of(writer);
}

Bytes encode_socks_reply(SocksReply reply, const SocketAddress& bound) {
  std::array<std::byte, 3 + kAddressSizeMax> space{};
  Writer writer(space);
  writer.u8(kVersion);
  writer.u8(static_cast<std::uint8_t>(reply));
  writer.u8(0);
  write_address(writer, bound.ip);
  writer.u16(bound.port);
  return copy_of(writer);
}

std::optional<SocksDatagram> parse_socks_datagram(BytesView datagram) {
  Reader reader(datagram);
  const auto reserved = reader.u16();
  const auto fragment = reader.u8();
  if (!reserved || *reserved != 0 || !fragment || *fragment != 0) return std::nullopt;
  auto peer = read_authority(reader);
  if (!peer) return std::nullopt;
  std::optional<Authority>& whole = *peer;
  if (!whole || whole->port == 0) return std::nullopt;
  return SocksDatagram{*std::move(whole), reader.rest()};
}

Bytes encode_socks_datagram(const SocksDatagram& datagram) {
  Bytes space(3 + kAddressSizeMax + datagram.payload.size());
  Writer writer(space);
  writer.u16(0);
  writer.u8(0);
  write_authority(writer, datagram.peer);
  writer.bytes(datagram.payload);
  ZT_ASSERT(writer.is_complete());
  space.resize(writer.written().size());
  return space;
}

}  // namespace zt::wire
