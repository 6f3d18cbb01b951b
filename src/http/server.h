// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/server.h: the requests of HTTP/3 and of HTTP/1.1 over TLS, as one stream of exchanges.
//
// Theory of operation
//   A Server stands between a role's core and two transports on the same port. It is offered every
//   event of the quic::Endpoint, and is told of every TCP connection and its bytes. It emits
//   RequestArrived and ExchangeGone (zt/http/exchange.h) and carries out Respond, Append and
//   Finish; the core never learns which transport it was, except that HTTP/1.1 answers advertise
//   HTTP/3 (alt-svc, RFC 7838). It follows base/engine.h with two poll functions: poll_output(),
//   and poll_touched(), which names the TCP connections whose to_send(), wants_receive() or
//   wants_close() may have changed.
//
//   If the configuration says so, a TCP connection may become a link for datagrams
//   (http/datagram_link.h): it leaves the Server by poll_upgraded().
//
// Limits   Each in Limits names its answer. queued_size_max bounds what waits for a slow watcher
//          beyond the transport's own buffers.
// Time     Every phase of a request but the core's own thinking has a deadline.
// Threats  Strangers: a connection of theirs costs two records of buffers, its request's body and
//          nothing that outlives its deadline; all unfinished requests together are bounded by
//          received_size_max. Requests that two parsers could read differently are refused, on both
//          transports by the same rules. CONNECT is refused: a Server is no proxy.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>

#include "http/datagram_link.h"
#include "http/deadlines.h"
#include "http/http1_server.h"
#include "http/tls_session.h"
#include "quic/endpoint.h"
#include "zt/base/time.h"
#include "zt/http/exchange.h"
#include "zt/http/problem.h"

namespace zt::http {

enum class TcpKey : std::uint64_t {};  // Local, never used twice by one Server.

class Server {
 public:
  struct Limits {
    std::size_t connections_max = 1024;   // Over TCP. open() refuses.
    std::size_t exchanges_max = 4096;     // Over both. Answered 503.
    std::size_t body_size_max = 1 << 20;  // Of one request. Answered 413.
    std::size_t received_size_max = 64
                                    << 20;  // Of all unfinished requests together. 503 or closed.
    std::size_t queued_size_max = 1 << 20;  // Of appended bytes that wait. The exchange is gone.
    Duration handshake_timeout = std::chrono::seconds(10);  // Over TCP.
    Duration head_timeout = std::chrono::seconds(10);       // Over TCP. Answered 408.
    Duration body_timeout = std::chrono::seconds(30);       // Answered 408.
    Duration idle_timeout = std::chrono::seconds(60);       // Over TCP, between requests.
    Duration send_timeout = std::chrono::seconds(30);  // Without progress. The exchange is gone.
    Duration close_timeout = std::chrono::seconds(5);  // For the last bytes, over TCP.
  };

  struct Config {
    bool is_upgrade_allowed = false;             // Of TCP connections to links for datagrams.
    const crypto::Identity* identity = nullptr;  // For TLS over TCP; only used by the constructor.
    std::optional<std::uint16_t> alt_svc_port;   // UDP port of HTTP/3 to advertise over HTTP/1.1.
    Limits limits;
  };

  using Output = std::variant<RequestArrived, PeerMoved, ExchangeGone>;
  using Command = std::variant<Respond, Append, Finish>;

  // `endpoint` outlives the object; null means that there is no HTTP/3.
  Server(const Config& config, quic::Endpoint* endpoint);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

  // set_identity changes the certificate of connections opened from now on (renewal).
  void set_identity(const crypto::Identity& identity);

  [[nodiscard]] std::optional<Output> poll_output();
  void carry_out(Command command, Instant now);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::size_t exchange_count() const { return exchanges_.size(); }

  // --- HTTP/3.

  // handle takes an event of the endpoint and returns whether it belonged to an exchange. It claims
  // every request. Events of connections are noticed but never claimed: they concern others too.
  bool handle(const quic::Event& event, Instant now);

  // --- HTTP/1.1. Unknown keys are ignored: a connection may have ended meanwhile.

  // open announces an accepted TCP connection; nothing if connections_max is reached: close it.
  [[nodiscard]] std::optional<TcpKey> open(const SocketAddress& remote, Instant now);
  // receive takes bytes from the socket. Read from the socket only while wants_receive().
  void receive(TcpKey key, BytesView bytes, Instant now);
  [[nodiscard]] bool wants_receive(TcpKey key) const;
  // to_send returns bytes for the socket; sent drops the first `size` of them. The view dies with
  // the next call that is not const.
  [[nodiscard]] BytesView to_send(TcpKey key);
  void sent(TcpKey key, std::size_t size, Instant now);
  // wants_close tells that everything was sent: close the socket, then call closed().
  [[nodiscard]] bool wants_close(TcpKey key) const;
  // closed says that the socket has ended, from either side and for whatever reason.
  void closed(TcpKey key);
  // poll_upgraded hands over a connection that is a link from now on; its key is dead. The socket
  // goes with it.
  [[nodiscard]] std::optional<std::pair<TcpKey, Upgraded>> poll_upgraded();
  // poll_touched names each connection that changed since it was last named.
  [[nodiscard]] std::optional<TcpKey> poll_touched();
  [[nodiscard]] std::size_t connection_count() const { return connections_.size(); }

 private:
  struct Connection;  // Over TCP.
  struct Stream;      // Of HTTP/3.
  using Place = std::variant<TcpKey, quic::StreamKey>;

  // server.cc
  ExchangeKey begin_exchange(const Place& place, Request request, std::string body,
                             const Peer& peer);
  // end_exchange and lose_exchange do nothing where there is no exchange, and leave none.
  void end_exchange(std::optional<ExchangeKey>& exchange);   // The core has said all.
  void lose_exchange(std::optional<ExchangeKey>& exchange);  // The core is to say no more.
  [[nodiscard]] bool is_full() const { return exchanges_.size() >= limits_.exchanges_max; }

  // server_quic.cc
  bool handle_stream_event(const quic::Event& event, Instant now);
  [[nodiscard]] Stream* find(const quic::StreamKey& key);
  void accept_request(const quic::RequestReceived& received, Instant now);
  void receive_body(const quic::StreamKey& key, Stream& stream, Instant now);
  void complete_request(const quic::StreamKey& key, Stream& stream, Instant now);
  void refuse(const quic::StreamKey& key, Stream& stream, const Refusal& refusal, Instant now);
  void respond(const quic::StreamKey& key, Stream& stream, const Response& response,
               std::string body, bool is_end, Instant now);
  void append(const quic::StreamKey& key, Stream& stream, std::string_view chunk, Instant now);
  void finish(const quic::StreamKey& key, Stream& stream, Instant now);
  void push(const quic::StreamKey& key, Stream& stream, Instant now);
  void abandon(const quic::StreamKey& key, Stream& stream);
  void forget_body(Stream& stream);
  void move_peer(quic::ConnectionKey connection, Peer& peer, const SocketAddress& remote);
  void forget_connection(quic::ConnectionKey connection);
  void handle_stream_timeout(const quic::StreamKey& key, Instant now);

  // server_tcp.cc
  [[nodiscard]] Connection* find(TcpKey key) const;
  void respond(TcpKey key, Connection& connection, Respond command, Instant now);
  void append(TcpKey key, Connection& connection, std::string_view chunk, Instant now);
  void finish(TcpKey key, Connection& connection, Instant now);
  void pump(TcpKey key, Connection& connection, Instant now);
  bool pump_once(TcpKey key, Connection& connection, Instant now);
  [[nodiscard]] bool is_upgrade(const Http1Request& request) const;
  void hand_over(TcpKey key, Connection& connection, std::string early);
  void account(Connection& connection);
  void handle_connection_timeout(TcpKey key, Instant now);

  Limits limits_;
  bool is_upgrade_allowed_;
  std::optional<std::uint16_t> alt_svc_port_;
  quic::Endpoint* endpoint_;
  TlsContext tls_context_;
  Bytes scratch_;  // For plaintext between TLS and HTTP/1.1.

  std::uint64_t next_exchange_ = 1;
  std::uint64_t next_connection_ = 1;
  std::map<ExchangeKey, Place> exchanges_;
  std::map<quic::ConnectionKey, Peer> peers_;
  std::map<quic::StreamKey, std::unique_ptr<Stream>> streams_;
  std::map<TcpKey, std::unique_ptr<Connection>> connections_;
  Deadlines<quic::StreamKey> stream_deadlines_;
  Deadlines<TcpKey> connection_deadlines_;
  std::deque<Output> outputs_;
  std::set<TcpKey> touched_;
  std::deque<std::pair<TcpKey, Upgraded>> upgraded_;
  std::size_t received_size_ = 0;  // Of all unfinished requests.
};

}  // namespace zt::http
