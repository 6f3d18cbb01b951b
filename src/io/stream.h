// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/stream.h: a byte stream of the kernel in both directions: a TCP or Unix socket, or two pipes.
//
// Theory of operation
//   A Stream is a thin skin: reads and writes go straight to the kernel, and when it has nothing to
//   give or take, the caller wants a callback for readiness, once. There is no buffer. To hand a
//   stream on (a proxy that has read its request), release its ends and make another Stream of
//   them.
//
// Limits   None of its own: the caller brings the memory, and reads only what it has room for.
// Threats  A peer that resets shows as `reset`, on reading or writing, never as a signal.

#include <cstddef>
#include <expected>
#include <optional>
#include <span>

#include "io/descriptor.h"
#include "io/loop.h"
#include "io/socket_error.h"

namespace zt::io {

// StreamEnds are the descriptors of a stream: of a socket `input` alone, which does both.
struct StreamEnds {
  Descriptor input;
  Descriptor output;
};

class Stream {
 public:
  // `ends.input` is open. The callbacks are called after the want_…() of their names; they may
  // destroy the Stream.
  Stream(Loop& loop, StreamEnds ends, Callback readable, Callback writable, Callback broken = {});
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() = default;

  // try_read returns how many bytes it put into `space` (not empty); 0 is the end of the stream.
  // Errors: would_block, reset, timed_out (keep-alive found the peer gone), unreachable, failed.
  [[nodiscard]] std::expected<std::size_t, SocketError> try_read(std::span<std::byte> space);

  // try_write returns how many bytes of `bytes` (not empty) the kernel took: at least one. Errors
  // as of try_read.
  [[nodiscard]] std::expected<std::size_t, SocketError> try_write(std::span<const std::byte> bytes);

  // limit_unsent makes a TCP socket writable only while less than `size` bytes wait in it unsent
  // (TCP_NOTSENT_LOWAT): what waits with the caller can still be dropped, or overtaken.
  void limit_unsent(std::size_t size);

  // shutdown_write ends the writing side after all that was written (FIN). Reading goes on.
  void shutdown_write();

  // reset closes at once, so that the peer of a TCP connection sees RST and not an end.
  void reset();

  void want_readable();
  void want_writable();
  // want_broken asks for a call when the peer breaks the connection while nobody reads or writes.
  void want_broken();

  // take_error tells how a socket is broken, and forgets it; nothing if it is not.
  [[nodiscard]] std::optional<SocketError> take_error();

  // release gives the ends back, open as they are, and ends the Stream's use.
  [[nodiscard]] StreamEnds release();
  [[nodiscard]] bool is_open() const { return ends_.input.is_open(); }

 private:
  [[nodiscard]] bool is_socket() const { return is_socket_; }

  StreamEnds ends_;
  bool is_socket_ = false;
  std::optional<Watch> input_watch_;
  std::optional<Watch> output_watch_;  // Only of two descriptors.
};

// open_standard_io takes standard input and output as a stream, for a program that is a pipe
// (ssh's ProxyCommand). Descriptors 0 and 1 are /dev/null afterwards, so that the end of the stream
// reaches whoever holds the other end. SIGPIPE is ignored from then on.
//
// Pipes and terminals are opened anew, because O_NONBLOCK belongs to the open file, which is shared
// with the parent: a shell would be surprised by it. Errors: limit, failed.
[[nodiscard]] std::expected<StreamEnds, SocketError> open_standard_io();

}  // namespace zt::io
