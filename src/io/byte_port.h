// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/byte_port.h: the other end of a splice: a byte stream in both directions that is not a socket.
//
// Theory of operation
//   Bytes are pulled in place: `writable` shows free space to read a socket into, `readable` shows
//   bytes to write to a socket. So each byte is copied once on its way, by the kernel. The names
//   follow the port: it *sends* what the socket gave, and the socket gets what it *received*. A
//   stream of quic::Endpoint is meant; src/app adapts it.
//
//   A port may show neither bytes nor space for as long as it likes: nothing moves then.
//
//   The port tells its Splice by on_port_readable(), on_port_writable() and on_port_reset(), never
//   from inside one of these functions. Whoever implements it must see to it that its engine is
//   drained soon after commit, consume and the other changes: schedule a Deferred.

#include <cstddef>
#include <span>

namespace zt::io {

class BytePort {
 public:
  struct Readable {
    std::span<const std::byte> bytes;  // The next bytes, maybe a part of what is held.
    bool is_end = false;               // The peer's side ends right after `bytes`.
  };

  BytePort() = default;
  BytePort(const BytePort&) = delete;
  BytePort& operator=(const BytePort&) = delete;

  // writable returns free contiguous space; empty if full, then on_port_writable() follows.
  [[nodiscard]] virtual std::span<std::byte> writable() = 0;
  // commit sends the first `size` bytes of what writable() returned.
  virtual void commit(std::size_t size) = 0;
  // finish ends the sending side after all committed bytes.
  virtual void finish() = 0;
  // reset_send abandons the sending side: the peer shall see a broken, not a finished stream.
  virtual void reset_send() = 0;

  // readable returns received bytes; none and no end means "nothing yet", on_port_readable()
  // follows.
  [[nodiscard]] virtual Readable readable() = 0;
  // consume drops the first `size` bytes of readable() and gives their credit back to the peer.
  virtual void consume(std::size_t size) = 0;
  // stop_receive refuses what the peer still sends.
  virtual void stop_receive() = 0;

 protected:
  ~BytePort() = default;
};

}  // namespace zt::io
