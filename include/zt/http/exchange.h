// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/exchange.h: what a role that serves HTTP is told and what it answers, as values.
//
// Theory of operation
//   An exchange is one request and its response. A role's core receives RequestArrived with the
//   whole body, and answers with Respond; a response that has no end yet (`is_end` false) is
//   continued by Append and ended by Finish. Whichever HTTP version carries it, http::Server
//   (src/http/server.h) does the rest: framing, HEAD, flow control, limits.
//
// Limits   A body in RequestArrived is at most Server's `body_size_max`; larger requests are
//          refused before the core sees them. Bytes that a slow client does not fetch are queued up
//          to `queued_size_max`, then the exchange ends with ExchangeGone.
// Threats  `Peer.remote` may be a proxy's address. Only `Peer.certificate` and `Peer.public_key`
//          are proven; forwarding headers prove nothing.

#include <cstdint>
#include <optional>
#include <string>

#include "zt/base/ids.h"
#include "zt/base/ip.h"
#include "zt/http/message.h"

namespace zt::http {

enum class ExchangeKey : std::uint64_t {};  // Local, never used twice by one Server.

// Peer is who sent a request, as far as the transport knows.
struct Peer {
  SocketAddress remote;
  // The digests of the client's leaf certificate, if it sent one: the TLS handshake proved that the
  // client holds its key, and nothing else about it (any self-signed certificate is accepted). Both
  // are present or absent together.
  std::optional<Digest> certificate;  // SHA-256 of the DER certificate (RFC 8705 x5t#S256).
  std::optional<Digest> public_key;   // SHA-256 of the DER SubjectPublicKeyInfo.

  friend bool operator==(const Peer&, const Peer&) = default;
};

// --- What a role is told.

// RequestArrived carries a whole request. Methods with a meaning of their own to the transport
// (CONNECT, extended CONNECT) never arrive here.
struct RequestArrived {
  ExchangeKey exchange{};
  Request request;
  std::string body;
  Peer peer;

  friend bool operator==(const RequestArrived&, const RequestArrived&) = default;
};

// PeerMoved says that the client of an exchange sends from another address now, which has been
// validated (RFC 9000 section 9).
struct PeerMoved {
  ExchangeKey exchange{};
  SocketAddress remote;

  friend bool operator==(const PeerMoved&, const PeerMoved&) = default;
};

// ExchangeGone says that the client left before the end of the response, or was too slow to read
// it. It is the last word about an exchange; commands for it are ignored from then on. No
// ExchangeGone follows a response that was handed over whole.
struct ExchangeGone {
  ExchangeKey exchange{};

  friend bool operator==(const ExchangeGone&, const ExchangeGone&) = default;
};

// --- What a role answers. A command for an unknown exchange is ignored: it crossed an
// ExchangeGone.

// Respond sends the final response, once for each exchange. `response.fields` has no framing fields
// (content-length, transfer-encoding, connection): the transport adds what it needs. For a HEAD
// request the body is not sent, only its size.
struct Respond {
  ExchangeKey exchange{};
  Response response;
  std::string body;  // All of it if `is_end`, else its beginning.
  bool is_end = true;

  friend bool operator==(const Respond&, const Respond&) = default;
};

// Append adds to the body of a response that was begun with `is_end` false.
struct Append {
  ExchangeKey exchange{};
  std::string chunk;

  friend bool operator==(const Append&, const Append&) = default;
};

// Finish ends a response that was begun with `is_end` false.
struct Finish {
  ExchangeKey exchange{};

  friend bool operator==(const Finish&, const Finish&) = default;
};

}  // namespace zt::http
