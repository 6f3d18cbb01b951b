// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/splice.h: joins a stream of the kernel and a BytePort, so that they are one connection.
//
// Theory of operation
//   Two pumps, one for each direction, that run as long as one side has bytes and the other side
//   has room, and then wait for the side that is missing. No buffer lies between them: the socket
//   is read into the port's own send buffer and written from its receive buffer. A slow reader
//   therefore stops the sender at the far end, and a splice costs no memory however fast or slow
//   its sides are.
//
//   An end in one direction (FIN) is passed on and the other direction goes on. A broken side (RST,
//   RESET_STREAM, STOP_SENDING) breaks the other side, in both directions, as RFC 9114 section 4.4
//   asks of a proxy. The splice is over when both directions have ended, or one is broken.
//
// Limits   turn_size_max bytes in each direction before others have their turn.
// Time     None: deadlines for idle or half-closed flows belong to the engine that opened the flow.
// Threats  Neither side can make it hold memory or run for ever; bytes are never looked at.

#include <cstddef>
#include <cstdint>
#include <functional>

#include "io/byte_port.h"
#include "io/loop.h"
#include "io/stream.h"

namespace zt::io {

class Splice {
 public:
  struct Options {
    // 256 KiB are some 50 us. splice_bench, processor seconds for a GiB: 0.55 with 64 KiB, 0.41
    // with 256 KiB, 0.34 with 1 MiB; 0.36 for a bare proxy.
    std::size_t turn_size_max = 256 << 10;
  };

  enum class End : std::uint8_t {
    finished,       // Both directions ended in order.
    stream_broken,  // The socket's peer reset or vanished; `error` says which. The port was reset.
    port_broken,    // The port's peer reset. The socket was reset.
  };

  struct Report {
    End end = End::finished;
    SocketError error = SocketError::failed;  // Of stream_broken.
    std::uint64_t sent_size = 0;              // From the socket into the port.
    std::uint64_t received_size = 0;          // From the port into the socket.
  };

  // The splice begins to move bytes at the end of the turn. `port` outlives it. `on_end` is called
  // once, from the loop, never from inside a function of this object; it may destroy the splice.
  Splice(Loop& loop, StreamEnds ends, BytePort& port, const Options& options,
         std::move_only_function<void(const Report&)> on_end);
  Splice(const Splice&) = delete;
  Splice& operator=(const Splice&) = delete;
  // Destroying a splice that is not over resets the socket and leaves the port alone.
  ~Splice();

  // What the port tells, when its peer did something. After the end they do nothing.
  void on_port_readable();
  void on_port_writable();
  void on_port_reset();

  // abort breaks both sides at once, as for a flow whose authorization has ended. `on_end` is not
  // called.
  void abort();

  [[nodiscard]] bool is_over() const { return is_over_; }
  [[nodiscard]] std::uint64_t sent_size() const { return report_.sent_size; }
  [[nodiscard]] std::uint64_t received_size() const { return report_.received_size; }

 private:
  void pump_to_port();
  void pump_to_stream();
  void note_break();
  void break_port(SocketError error);
  void end_direction(bool& is_ended);
  void end(End end);

  const Options options_;
  BytePort& port_;
  std::move_only_function<void(const Report&)> on_end_;
  Report report_;
  bool is_sending_ended_ = false;    // Socket to port.
  bool is_receiving_ended_ = false;  // Port to socket.
  bool is_over_ = false;
  Stream stream_;
  Deferred resume_sending_;  // After a budget is used up.
  Deferred resume_receiving_;
  Deferred report_end_;
};

}  // namespace zt::io
