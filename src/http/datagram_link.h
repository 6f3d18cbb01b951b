// SPDX-License-Identifier: Apache-2.0
#pragma once
// http/datagram_link.h: datagrams over TLS over TCP, for networks that let no UDP through; no
// socket.
//
// Theory of operation
//   The opening side makes a TLS connection, pins the server's certificate, and asks by HTTP/1.1
//
//     GET /.well-known/zt/datagrams      Connection: Upgrade      Upgrade: zt-datagrams
//
//   The server (http/server.h) answers 101 and hands its connection over as Upgraded. From then on
//   both directions are frames of wire/datagram_frames.h. What travels in them is what would travel
//   as UDP payloads: QUIC, which has an identity and a secrecy of its own. So a link needs no trust
//   and grants none; TLS around it makes it look as what lets everything else through looks, and
//   the pin keeps whoever intercepts TLS from a log of our packets.
//
//   A link is a router's queue: what has no room is dropped, and the protocols above slow down.
//
// Limits   queued_size_max waits for the socket. Received bytes pass through a LinkWorkspace that
//          all links of a thread share; a link itself keeps at most one incomplete frame.
// Time     The link opens within open_timeout, and is over when nothing came for idle_timeout: both
//          ends of a link in use keep their QUIC connections alive.
// Threats  A head of more than head.head_size_max bytes, any answer but 101 and any frame without
//          sense end the link.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/http1_parser.h"
#include "http/tls_session.h"
#include "zt/base/assert.h"
#include "zt/base/bytes.h"
#include "zt/base/time.h"
#include "zt/wire/datagram_frames.h"

namespace zt::http {

inline constexpr std::string_view kDatagramsPath = "/.well-known/zt/datagrams";
inline constexpr std::string_view kDatagramsProtocol = "zt-datagrams";

// Upgraded is a connection of which a Server has let go after it has answered 101.
struct Upgraded {
  std::unique_ptr<TlsSession> tls;
  std::string early;  // Plaintext that came behind the request.
  Bytes ciphertext;   // That TLS had no room for.
};

// LinkWorkspace is where received frames become datagrams, of one link after the other.
class LinkWorkspace {
 public:
  LinkWorkspace() : buffer_(kSize) {}
  LinkWorkspace(const LinkWorkspace&) = delete;
  LinkWorkspace& operator=(const LinkWorkspace&) = delete;

 private:
  friend class DatagramLink;
  static constexpr std::size_t kSize = 128 << 10;
  Bytes buffer_;
  std::size_t begin_ = 0;  // Of what is not done with.
  std::size_t end_ = 0;
};

class DatagramLink {
 public:
  enum class State : std::uint8_t {
    opening,
    open,
    over,  // See reason(). What is left of to_send() may still be sent.
  };
  struct Limits {
    std::size_t queued_size_max = 256 << 10;
    Http1Parser::Limits head = {.head_size_max = 8 << 10, .fields_max = 64};
    Duration open_timeout = std::chrono::seconds(8);
    Duration idle_timeout = std::chrono::seconds(60);
  };
  struct Options {
    TlsSession::ClientOptions tls;
    std::string authority;  // For the Host field.
  };

  // The first opens a link, the second goes on with a connection of a server; that one is open.
  // `context` need not outlive the link.
  DatagramLink(const TlsContext& context, const Options& options, const Limits& limits,
               Instant now);
  DatagramLink(Upgraded upgraded, const Limits& limits, Instant now);
  DatagramLink(const DatagramLink&) = delete;
  DatagramLink& operator=(const DatagramLink&) = delete;

  [[nodiscard]] State state() const { return state_; }
  // reason says for a person why the link is over.
  [[nodiscard]] const std::string& reason() const { return reason_; }

  // receive takes all of `ciphertext` and calls `show(bytes, segment_size)` for each train that is
  // complete. The train dies with that call, which may send here, and must not destroy the link.
  // Call it once with nothing for a connection of a server: bytes may have come early.
  template <class Show>
  void receive(BytesView ciphertext, LinkWorkspace& workspace, Instant now, const Show& show) {
    heard_at_ = now;
    begin(workspace);
    bool has_moved = true;
    while (has_moved && state_ != State::over) {
      has_moved = pull(ciphertext, workspace);
      while (const auto train = next_train(workspace)) show(train->bytes, train->segment_size);
      compact(workspace);
    }
    end(workspace);
  }
  // receive_end says that the socket has no more.
  void receive_end();

  // send puts a train into the queue. It returns how many bytes of it were dropped: all or none.
  [[nodiscard]] std::size_t send(BytesView datagrams, std::size_t segment_size);

  // to_send returns ciphertext for the socket; sent drops the first `size` bytes of it.
  [[nodiscard]] BytesView to_send();
  void sent(std::size_t size);

  // close says goodbye (close_notify): send what to_send() has, and close the socket.
  void close();

  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

 private:
  // The steps of receive().
  void begin(LinkWorkspace& workspace) const;
  bool pull(BytesView& ciphertext, LinkWorkspace& workspace);
  [[nodiscard]] std::optional<wire::FramedTrain> next_train(LinkWorkspace& workspace);
  static void compact(LinkWorkspace& workspace);
  void end(const LinkWorkspace& workspace);
  void take_answer(LinkWorkspace& workspace);
  void judge_tls();
  void fail(std::string reason);

  Limits limits_;
  std::unique_ptr<TlsSession> tls_;
  Http1Parser parser_;
  State state_ = State::opening;
  std::string reason_;
  Bytes ciphertext_;  // That a server received, and TLS had no room for.
  Bytes rest_;        // An incomplete frame.
  Bytes unsent_;      // Plaintext.
  std::size_t unsent_offset_ = 0;
  Instant opened_by_;
  Instant heard_at_;
};

}  // namespace zt::http
