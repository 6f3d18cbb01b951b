// SPDX-License-Identifier: Apache-2.0
#pragma once
// node/flow_streams.h: which stream carries which flow, and a flow's bytes by its own key.
//
// Theory of operation
//   A role names a flow by a key of its own, the endpoint by a stream. While a stream carries a
//   flow, the two are paired here, and the shell moves the flow's bytes by the flow's key, in the
//   words of quic::Endpoint. A flow without a stream answers like one whose peer is gone: nothing
//   to read, no space to write.
//
//   A flow that is held looks like one that has nothing to read and no space to write, and has not
//   ended. What its peer sends stays where it is, so that the peer stops when the windows are full.
//
//   A stream that closed in order, with nothing left to read, reads as its end: its peer said FIN.
//   The endpoint forgets such a stream at once, maybe before the shell has looked.
//
// Limits   The pairs are bounded by the role's limit of flows.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>

#include "quic/endpoint.h"
#include "zt/base/bytes.h"
#include "zt/base/protocol.h"

namespace zt::node {

template <class FlowKey>
class FlowStreams {
 public:
  explicit FlowStreams(quic::Endpoint& endpoint) : endpoint_(endpoint) {}

  void pair(FlowKey flow, const quic::StreamKey& stream) {
    streams_[flow] = stream;
    flows_[stream] = flow;
    ++counts_[stream.connection];
  }
  // close is told that a stream is closed; it returns the flow that it carried.
  std::optional<FlowKey> close(const quic::StreamKey& stream) {
    const auto flow = flow_of(stream);
    if (flow) closed_.insert(*flow);
    return flow;
  }
  void unpair(FlowKey flow) {
    const auto found = streams_.find(flow);
    if (found == streams_.end()) return;
    const auto counted = counts_.find(found->second.connection);
    if (--counted->second == 0) counts_.erase(counted);
    flows_.erase(found->second);
    streams_.erase(found);
    closed_.erase(flow);
    held_.erase(flow);
  }
  // hold lets no byte pass until release, in either direction. After that the shell must be told to
  // look again.
  void hold(FlowKey flow) { held_.insert(flow); }
  void release(FlowKey flow) { held_.erase(flow); }
  [[nodiscard]] std::optional<quic::StreamKey> stream_of(FlowKey flow) const {
    const auto found = streams_.find(flow);
    return found == streams_.end() ? std::nullopt : std::optional(found->second);
  }
  [[nodiscard]] std::optional<FlowKey> flow_of(const quic::StreamKey& stream) const {
    const auto found = flows_.find(stream);
    return found == flows_.end() ? std::nullopt : std::optional(found->second);
  }
  [[nodiscard]] std::size_t count() const { return streams_.size(); }
  // is_used tells whether a connection carries a flow.
  [[nodiscard]] bool is_used(quic::ConnectionKey connection) const {
    return counts_.contains(connection);
  }

  // --- A flow's bytes; see quic::Endpoint for each word.

  [[nodiscard]] std::span<std::byte> writable(FlowKey flow) {
    if (held_.contains(flow)) return {};
    const auto stream = stream_of(flow);
    return stream ? endpoint_.writable(*stream) : std::span<std::byte>();
  }
  void commit(FlowKey flow, std::size_t size) {
    if (const auto stream = stream_of(flow)) endpoint_.commit(*stream, size);
  }
  void finish(FlowKey flow) {
    if (const auto stream = stream_of(flow)) endpoint_.finish(*stream);
  }
  [[nodiscard]] quic::Readable readable(FlowKey flow) const {
    if (held_.contains(flow)) return {};
    if (closed_.contains(flow)) return {.bytes = {}, .is_end = true};
    const auto stream = stream_of(flow);
    return stream ? endpoint_.readable(*stream) : quic::Readable{};
  }
  void consume(FlowKey flow, std::size_t size) {
    if (const auto stream = stream_of(flow)) endpoint_.consume(*stream, size);
  }
  // abandon ends both directions at once.
  void abandon(FlowKey flow, std::uint64_t code) {
    const auto stream = stream_of(flow);
    if (!stream) return;
    endpoint_.reset(*stream, code);
    endpoint_.stop(*stream, code);
  }

 private:
  quic::Endpoint& endpoint_;
  std::map<FlowKey, quic::StreamKey> streams_;
  std::map<quic::StreamKey, FlowKey> flows_;
  std::map<quic::ConnectionKey, std::size_t> counts_;  // Of flows; above zero.
  std::set<FlowKey> closed_;
  std::set<FlowKey> held_;
};

}  // namespace zt::node
