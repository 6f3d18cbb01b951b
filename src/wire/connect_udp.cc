// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/connect_udp.h"

#include <utility>

#include "zt/base/assert.h"
#include "zt/wire/cursor.h"

namespace zt::wire {
namespace {

constexpr std::string_view kPrefix = "/.well-known/masque/udp/";
constexpr std::string_view kEncodedColon = "%3A";

// decode_colons undoes the only percent-encoding that a host needs. What is encoded otherwise keeps
// its percent sign, which no host has.
std::string decode_colons(std::string_view text) {
  std::string decoded;
  while (!text.empty()) {
    const bool is_colon = text.starts_with(kEncodedColon) || text.starts_with("%3a");
    decoded.push_back(is_colon ? ':' : text.front());
    text.remove_prefix(is_colon ? kEncodedColon.size() : 1);
  }
  return decoded;
}

}  // namespace

std::string to_udp_path(const Authority& target) {
  std::string path(kPrefix);
  for (const char character : to_text(target.host)) {
    if (character == ':') {
      path.append(kEncodedColon);
    } else {
      path.push_back(character);
    }
  }
  return path.append("/").append(std::to_string(target.port)).append("/");
}

std::optional<Authority> parse_udp_path(std::string_view path) {
  if (!path.starts_with(kPrefix) || !path.ends_with('/')) return std::nullopt;
  path.remove_prefix(kPrefix.size());
  if (path.empty()) return std::nullopt;
  path.remove_suffix(1);
  const std::size_t slash = path.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::string_view host_text = path.substr(0, slash);
  if (host_text.starts_with('[')) return std::nullopt;
  auto host = parse_host(decode_colons(host_text));
  const auto port = parse_port(path.substr(slash + 1));
  if (!host || !port) return std::nullopt;
  return Authority{.host = *std::move(host), .port = *port};
}

std::optional<BytesView> parse_udp_datagram(BytesView datagram) {
  Reader reader(datagram);
  const auto context = reader.varint();
  if (!context || *context != 0 || reader.remaining_size() > kUdpPayloadSizeMax) {
    return std::nullopt;
  }
  return reader.rest();
}

Bytes encode_udp_datagram(BytesView payload) {
  ZT_ASSERT(payload.size() <= kUdpPayloadSizeMax);
  Bytes bytes(1 + payload.size());
  Writer writer(bytes);
  writer.varint(std::to_integer<std::uint64_t>(kUdpContext));
  writer.bytes(payload);
  ZT_ASSERT(writer.is_complete());
  return bytes;
}

std::optional<QuicDatagram> parse_quic_datagram(BytesView frame) {
  Reader reader(frame);
  const auto quarter = reader.varint();
  if (!quarter || *quarter > kVarintMax / 4) return std::nullopt;
  return QuicDatagram{.stream_id = *quarter * 4, .payload = reader.rest()};
}

Bytes encode_quic_datagram(const QuicDatagram& datagram) {
  ZT_ASSERT(datagram.stream_id % 4 == 0);
  const std::uint64_t quarter = datagram.stream_id / 4;
  Bytes bytes(varint_size(quarter) + datagram.payload.size());
  Writer writer(bytes);
  writer.varint(quarter);
  writer.bytes(datagram.payload);
  ZT_ASSERT(writer.is_complete());
  return bytes;
}

}  // namespace zt::wire
