// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/flow_port.h: a TCP flow of a node, as the byte port that io::Splice moves bytes through.

#include <cstddef>
#include <functional>
#include <span>
#include <utility>

#include "io/byte_port.h"
#include "node/flow_streams.h"
#include "node/messages.h"

namespace zt::app {

template <class FlowKey>
class FlowPort final : public io::BytePort {
 public:
  // `flows` outlives the port. `on_change` is called after each change, so that the node is
  // settled.
  FlowPort(node::FlowStreams<FlowKey>& flows, FlowKey flow,
           std::move_only_function<void()> on_change)
      : flows_(flows), flow_(flow), on_change_(std::move(on_change)) {}

  std::span<std::byte> writable() override { return flows_.writable(flow_); }
  void commit(std::size_t size) override {
    flows_.commit(flow_, size);
    on_change_();
  }
  void finish() override {
    flows_.finish(flow_);
    on_change_();
  }
  // A TCP connection breaks in both directions, and so does its stream (RFC 9114 section 4.4).
  void reset_send() override { abandon(); }
  Readable readable() override {
    const quic::Readable readable = flows_.readable(flow_);
    return {.bytes = readable.bytes, .is_end = readable.is_end};
  }
  void consume(std::size_t size) override {
    flows_.consume(flow_, size);
    on_change_();
  }
  void stop_receive() override { abandon(); }

 private:
  void abandon() {
    flows_.abandon(flow_, node::kStreamConnectError);
    on_change_();
  }

  node::FlowStreams<FlowKey>& flows_;
  FlowKey flow_;
  std::move_only_function<void()> on_change_;
};

}  // namespace zt::app
