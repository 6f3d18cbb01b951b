// SPDX-License-Identifier: Apache-2.0
#include "io/splice.h"

#include <algorithm>
#include <utility>

namespace zt::io {

Splice::Splice(Loop& loop, StreamEnds ends, BytePort& port, const Options& options,
               std::move_only_function<void(const Report&)> on_end)
    : options_(options),
      port_(port),
      on_end_(std::move(on_end)),
      stream_(
          loop, std::move(ends), [this] { pump_to_port(); }, [this] { pump_to_stream(); },
          [this] { note_break(); }),
      resume_sending_(loop, [this] { pump_to_port(); }),
      resume_receiving_(loop, [this] { pump_to_stream(); }),
      report_end_(loop, [this] {
        // The function may destroy the splice and with it the member.
        auto report_to = std::move(on_end_);
        report_to(Report(report_));
      }) {
  resume_sending_.schedule();
  resume_receiving_.schedule();
  stream_.want_broken();
}

Splice::~Splice() {
  if (!is_over_) stream_.reset();
}

void Splice::on_port_readable() {
  pump_to_stream();
}
void Splice::on_port_writable() {
  pump_to_port();
}

void Splice::on_port_reset() {
  if (is_over_) return;
  // RFC 9114 section 4.4: "if the proxy detects that the client has reset the stream or aborted
  // reading from the stream, it MUST close the TCP connection"; both sides of the stream with it.
  port_.reset_send();
  port_.stop_receive();
  stream_.reset();
  end(End::port_broken);
}

void Splice::abort() {
  if (is_over_) return;
  on_port_reset();
  report_end_.cancel();
}

void Splice::pump_to_port() {
  std::size_t budget = options_.turn_size_max;
  while (!is_over_ && !is_sending_ended_) {
    std::span<std::byte> space = port_.writable();
    if (space.empty()) return;  // on_port_writable() comes.
    if (budget == 0) return resume_sending_.schedule();
    space = space.first(std::min(space.size(), budget));
    const auto size = stream_.try_read(space);
    if (!size && size.error() == SocketError::would_block) return stream_.want_readable();
    if (!size) return break_port(size.error());
    if (*size == 0) {
      port_.finish();
      return end_direction(is_sending_ended_);
    }
    port_.commit(*size);
    report_.sent_size += *size;
    budget -= *size;
    // Less than there was room for: the socket is empty, and asking again would only cost a call.
    if (*size < space.size()) return stream_.want_readable();
  }
}

void Splice::pump_to_stream() {
  std::size_t budget = options_.turn_size_max;
  while (!is_over_ && !is_receiving_ended_) {
    const BytePort::Readable readable = port_.readable();
    if (readable.bytes.empty()) {
      if (!readable.is_end) return;  // on_port_readable() comes.
      stream_.shutdown_write();
      return end_direction(is_receiving_ended_);
    }
    if (budget == 0) return resume_receiving_.schedule();
    const auto bytes = readable.bytes.first(std::min(readable.bytes.size(), budget));
    const auto size = stream_.try_write(bytes);
    if (!size && size.error() == SocketError::would_block) return stream_.want_writable();
    if (!size) return break_port(size.error());
    port_.consume(*size);
    report_.received_size += *size;
    budget -= *size;
    if (*size < bytes.size()) return stream_.want_writable();
  }
}

// The socket's peer has reset it. That must be told even while the port is full or idle, when
// nobody reads or writes the socket; but first what was received before.
void Splice::note_break() {
  pump_to_port();
  if (is_over_) return;
  // Without an error both sides are just closed, and the pumps know it.
  if (const auto error = stream_.take_error()) break_port(*error);
}

void Splice::break_port(SocketError error) {
  port_.reset_send();
  port_.stop_receive();
  stream_.reset();
  report_.error = error;
  end(End::stream_broken);
}

void Splice::end_direction(bool& is_ended) {
  is_ended = true;
  if (is_sending_ended_ && is_receiving_ended_) end(End::finished);
}

void Splice::end(End end) {
  is_over_ = true;
  report_.end = end;
  resume_sending_.cancel();
  resume_receiving_.cancel();
  report_end_.schedule();
}

}  // namespace zt::io
