// SPDX-License-Identifier: Apache-2.0
#pragma once
// client/socks_session.h: the server's side of one SOCKS5 connection (RFC 1928), without a socket.
//
// Theory of operation
//   Bytes of the application go in by receive(), bytes for it come out by take_output(). Once the
//   request is whole, wanted() tells what it wants; its answer is reply() with the flow's outcome,
//   or accept(). After accept() of a CONNECT the connection carries the flow, beginning with what
//   take_rest() returns: bytes that the application sent without waiting. The TCP connection of a
//   UDP association carries nothing and ends the association when it ends.
//
//     greeting ─► request ─► answer ─► done
//        └──────────┴──────────┴─────► closed (send what take_output() holds, then close)
//
// Limits: one message of wire::kSocksMessageSizeMax bytes, and the rest of the read it came with.
// Time: the greeting and the request have to be there by the deadline.
// Threats: a web page that makes a browser speak HTTP to this port is closed at its first byte,
//   without an answer.

#include <cstddef>
#include <cstdint>
#include <optional>

#include "zt/base/bytes.h"
#include "zt/base/host.h"
#include "zt/base/ip.h"
#include "zt/base/time.h"
#include "zt/client/engine.h"
#include "zt/wire/socks5.h"

namespace zt::client {

// to_reply maps an outcome to what SOCKS can say of it.
[[nodiscard]] wire::SocksReply to_reply(Outcome::Kind kind);

class SocksSession {
 public:
  // The handshake has to be over before `deadline`.
  explicit SocksSession(Instant deadline) : deadline_(deadline) {}

  // receive takes bytes of the application. Call it only while wants_bytes().
  void receive(BytesView bytes);
  // wants_bytes tells whether the handshake goes on. Read no more until reply() or accept().
  [[nodiscard]] bool wants_bytes() const;

  // wanted returns the request, from when it is whole until it is answered.
  [[nodiscard]] const std::optional<wire::SocksRequest>& wanted() const { return wanted_; }

  // reply refuses the request that is wanted.
  void reply(const Outcome& outcome);
  void reply(wire::SocksReply code);
  // accept answers it with success. `bound` is where datagrams of a UDP association go, and
  // 0.0.0.0:0 for a CONNECT.
  void accept(const SocketAddress& bound);

  // take_output returns bytes to write to the application.
  [[nodiscard]] Bytes take_output();
  // take_rest returns, after accept(), what was received behind the request.
  [[nodiscard]] Bytes take_rest();

  // is_closed tells that the connection is to be closed after the output is written.
  [[nodiscard]] bool is_closed() const { return state_ == State::closed; }
  [[nodiscard]] bool is_done() const { return state_ == State::done; }

  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

 private:
  enum class State : std::uint8_t { greeting, request, answer, done, closed };

  [[nodiscard]] bool take_greeting();
  [[nodiscard]] bool take_request();
  void send(BytesView bytes);
  void drop_input(std::size_t size);

  Instant deadline_;
  State state_ = State::greeting;
  Bytes input_;
  Bytes output_;
  std::optional<wire::SocksRequest> wanted_;
};

}  // namespace zt::client
