// SPDX-License-Identifier: Apache-2.0
#include "io/udp.h"

#include <netinet/udp.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "io/control_message.h"
#include "io/descriptor.h"
#include "io/native_address.h"
#include "zt/base/assert.h"

namespace zt::io {
namespace {

// What the kernel takes for one UDP_SEGMENT call: 64 segments, and an IP packet with its headers.
constexpr std::size_t kSegmentsMax = 64;
constexpr std::size_t kTrainSendSizeMax = 65000;
constexpr unsigned kEcnMask = 3;
// 64 datagrams in a turn where each comes alone.
constexpr int kReceivesPerTurnMax = 4;

std::size_t segment_count(const Datagrams& train) {
  if (train.bytes.empty()) return 1;
  return (train.bytes.size() + train.segment_size - 1) / train.segment_size;
}

bool set_option(int socket, int level, int name, int value) {
  return ::setsockopt(socket, level, name, &value, sizeof value) == 0;
}

int clamp_to_int(std::size_t size) {
  return static_cast<int>(std::min<std::size_t>(size, 1U << 30));
}

// Asks beyond the limit of the system first, which only the privileged may.
void set_buffer_sizes(int socket, const UdpSocket::Options& options) {
  if (options.receive_buffer_size > 0) {
    const int size = clamp_to_int(options.receive_buffer_size);
    (void)(set_option(socket, SOL_SOCKET, SO_RCVBUFFORCE, size) ||
           set_option(socket, SOL_SOCKET, SO_RCVBUF, size));  // The result is read back.
  }
  if (options.send_buffer_size > 0) {
    const int size = clamp_to_int(options.send_buffer_size);
    (void)(set_option(socket, SOL_SOCKET, SO_SNDBUFFORCE, size) ||
           set_option(socket, SOL_SOCKET, SO_SNDBUF, size));  // So is this one.
  }
}

std::size_t granted_size(int socket, int name) {
  int size = 0;
  socklen_t length = sizeof size;
  const int result = ::getsockopt(socket, SOL_SOCKET, name, &size, &length);
  ZT_ASSERT(result == 0);
  return static_cast<std::size_t>(size) / 2;  // The kernel doubles for its own bookkeeping.
}

std::expected<Descriptor, SocketError> open_socket(bool is_v4, const UdpSocket::Options& options) {
  Descriptor socket(
      ::socket(is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open()) return std::unexpected(to_socket_error(errno));
  const int number = socket.number();
  set_buffer_sizes(number, options);
  // Without GRO a train is one datagram, without ECN it has no mark: slower, and still right.
  (void)set_option(number, SOL_UDP, UDP_GRO, 1);
  bool is_set = !options.is_port_shared || set_option(number, SOL_SOCKET, SO_REUSEPORT, 1);
  if (is_v4) {
    (void)set_option(number, IPPROTO_IP, IP_RECVTOS, 1);
    is_set = is_set && (!options.is_local_told || set_option(number, IPPROTO_IP, IP_PKTINFO, 1));
    if (!options.is_fragmented) {
      is_set = is_set && set_option(number, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    }
  } else {
    (void)set_option(number, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    is_set =
        is_set && (!options.is_local_told || set_option(number, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1));
    is_set = is_set && set_option(number, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (!options.is_fragmented) {
      is_set = is_set && set_option(number, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    }
  }
  if (!is_set) return std::unexpected(SocketError::failed);
  return socket;
}

template <class T>
T read_control(const cmsghdr* header) {
  T value{};
  std::memcpy(&value, CMSG_DATA(header), sizeof value);
  return value;
}

// The kernel's suggestion for the source of an answer is the address that the datagram was sent to,
// unless that is a broadcast or multicast address.
std::optional<IpAddress> to_local(const in_pktinfo& info) {
  if (info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr) return std::nullopt;
  return IpAddress::v4(std::bit_cast<std::array<std::uint8_t, 4>>(info.ipi_addr.s_addr));
}

std::optional<IpAddress> to_local(const in6_pktinfo& info) {
  if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr)) return std::nullopt;
  return IpAddress::v6(std::bit_cast<std::array<std::uint8_t, 16>>(info.ipi6_addr));
}

// Fills segment size, ECN and local address from what the kernel wrote beside the bytes.
void read_controls(msghdr& message, Datagrams& train) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == SOL_UDP && header->cmsg_type == UDP_GRO) {
      const int size = read_control<int>(header);
      if (size > 0) train.segment_size = static_cast<std::size_t>(size);
    } else if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_TOS) {
      train.ecn = read_control<std::uint8_t>(header) & kEcnMask;
    } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_TCLASS) {
      train.ecn =
          static_cast<std::uint8_t>(static_cast<unsigned>(read_control<int>(header)) & kEcnMask);
    } else if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
      train.local = to_local(read_control<in_pktinfo>(header));
    } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
      train.local = to_local(read_control<in6_pktinfo>(header));
    }
  }
  train.segment_size = std::min(train.segment_size, train.bytes.size());
}

void add_ecn(ControlWriter& controls, bool is_v4, std::uint8_t ecn) {
  if (ecn == 0) return;
  if (is_v4) {
    controls.add(IPPROTO_IP, IP_TOS, static_cast<int>(ecn));
  } else {
    controls.add(IPPROTO_IPV6, IPV6_TCLASS, static_cast<int>(ecn));
  }
}

}  // namespace

// --- UdpBuffers

struct UdpBuffers::Memory {
  // Not initialised: 1 MiB that the kernel writes before anybody reads it.
  // NOLINTNEXTLINE(modernize-avoid-c-arrays)
  std::unique_ptr<std::byte[]> bytes =
      // NOLINTNEXTLINE(modernize-avoid-c-arrays)
      std::make_unique_for_overwrite<std::byte[]>(kTrainCount * kTrainSizeMax);
  std::array<mmsghdr, kTrainCount> messages{};
  std::array<iovec, kTrainCount> vectors{};
  std::array<NativeAddress, kTrainCount> remotes;
  std::array<Control, kTrainCount> controls{};

  // For trains that are sent as single datagrams.
  std::array<mmsghdr, kSegmentsMax> single_messages{};
  std::array<iovec, kSegmentsMax> single_vectors{};
};

UdpBuffers::UdpBuffers() : memory_(std::make_unique<Memory>()) {
  for (std::size_t i = 0; i < kTrainCount; ++i) {
    memory_->vectors[i] = {.iov_base = memory_->bytes.get() + i * kTrainSizeMax,
                           .iov_len = kTrainSizeMax};
    msghdr& message = memory_->messages[i].msg_hdr;
    message.msg_iov = &memory_->vectors[i];
    message.msg_iovlen = 1;
    message.msg_name = &memory_->remotes[i].generic;
    message.msg_control = memory_->controls[i].bytes.data();
  }
}

UdpBuffers::~UdpBuffers() = default;

UdpStatistics& UdpStatistics::operator+=(const UdpStatistics& other) {
  trains_received += other.trains_received;
  bytes_received += other.bytes_received;
  trains_sent += other.trains_sent;
  bytes_sent += other.bytes_sent;
  sends_blocked += other.sends_blocked;
  datagrams_dropped_size += other.datagrams_dropped_size;
  datagrams_dropped_error += other.datagrams_dropped_error;
  datagrams_truncated += other.datagrams_truncated;
  is_segmenting = is_segmenting && other.is_segmenting;
  return *this;
}

// --- UdpSocket

class UdpSocket::Impl {
 public:
  Impl(Loop& loop, UdpBuffers::Memory& memory, Descriptor socket, const SocketAddress& local,
       bool is_connected, const Options& options, Handlers handlers)
      : memory_(memory),
        received_per_turn_max_(options.received_per_turn_max),
        is_connected_(is_connected),
        local_(local),
        handlers_(std::move(handlers)),
        socket_(std::move(socket)),
        watch_(loop, socket_.number(), [this] { receive(); }, [this] { report_writable(); }) {
    watch_.want_readable();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (is_destroyed_ != nullptr) *is_destroyed_ = true;
  }

  SendResult send(const Datagrams& train);

  [[nodiscard]] int number() const { return socket_.number(); }
  [[nodiscard]] const SocketAddress& local() const { return local_; }
  [[nodiscard]] const UdpStatistics& statistics() const { return statistics_; }

 private:
  enum class Outcome : std::uint8_t { done, blocked, split };

  void receive();
  [[nodiscard]] std::optional<std::size_t> receive_trains();
  [[nodiscard]] bool show_trains(std::size_t count);
  void report_writable();
  void report_error(int error_number);

  Outcome send_train(const Datagrams& train);
  SendResult send_singly(const Datagrams& train);
  void drop(const Datagrams& train, int error_number);

  UdpBuffers::Memory& memory_;
  const std::size_t received_per_turn_max_;
  const bool is_connected_;
  const SocketAddress local_;
  Handlers handlers_;
  UdpStatistics statistics_;
  bool* is_destroyed_ = nullptr;  // Set while a handler runs, which may destroy this object.
  Descriptor socket_;
  Watch watch_;
};

void UdpSocket::Impl::receive() {
  const std::uint64_t enough = statistics_.bytes_received + received_per_turn_max_;
  for (int i = 0; i < kReceivesPerTurnMax && statistics_.bytes_received < enough; ++i) {
    const std::optional<std::size_t> count = receive_trains();
    if (!count || !show_trains(*count)) return;  // Destroyed.
    // A short answer means that the queue is empty; what came since shows as readable.
    if (*count < UdpBuffers::kTrainCount) break;
  }
  watch_.want_readable();
}

// Returns the number of trains in memory, 0 if there was none, or nothing if the error handler
// destroyed the socket.
std::optional<std::size_t> UdpSocket::Impl::receive_trains() {
  for (std::size_t i = 0; i < UdpBuffers::kTrainCount; ++i) {
    msghdr& message = memory_.messages[i].msg_hdr;
    message.msg_namelen = sizeof(sockaddr_in6);
    message.msg_controllen = sizeof(Control);
  }
  // An ICMP error is told once and then gone; a few of them must not hide what has arrived.
  for (int tries = 0; tries < 8; ++tries) {
    const int count = ::recvmmsg(socket_.number(), memory_.messages.data(), UdpBuffers::kTrainCount,
                                 MSG_DONTWAIT, nullptr);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EAGAIN) return 0;
    if (errno == EINTR) continue;
    bool is_destroyed = false;
    is_destroyed_ = &is_destroyed;
    report_error(errno);
    if (is_destroyed) return std::nullopt;
    is_destroyed_ = nullptr;
  }
  return 0;
}

// Shows `count` trains of the memory to the handler; false if that destroyed the socket.
bool UdpSocket::Impl::show_trains(std::size_t count) {
  bool is_destroyed = false;
  is_destroyed_ = &is_destroyed;
  for (std::size_t i = 0; i < count; ++i) {
    mmsghdr& entry = memory_.messages[i];
    const std::optional<SocketAddress> remote =
        from_native(&memory_.remotes[i].generic, entry.msg_hdr.msg_namelen);
    if ((entry.msg_hdr.msg_flags & MSG_TRUNC) != 0) ++statistics_.datagrams_truncated;
    if (!remote || (entry.msg_hdr.msg_flags & MSG_TRUNC) != 0) continue;
    const auto* bytes = static_cast<const std::byte*>(memory_.vectors[i].iov_base);
    Datagrams train{
        .remote = *remote, .bytes = std::span(bytes, entry.msg_len), .segment_size = entry.msg_len};
    read_controls(entry.msg_hdr, train);
    ++statistics_.trains_received;
    statistics_.bytes_received += train.bytes.size();
    handlers_.on_datagrams(train);
    if (is_destroyed) return false;
  }
  is_destroyed_ = nullptr;
  return true;
}

void UdpSocket::Impl::report_writable() {
  if (handlers_.on_writable) handlers_.on_writable();
}

void UdpSocket::Impl::report_error(int error_number) {
  ++statistics_.datagrams_dropped_error;
  if (is_connected_ && handlers_.on_error) handlers_.on_error(to_socket_error(error_number));
}

UdpSocket::SendResult UdpSocket::Impl::send(const Datagrams& train) {
  ZT_ASSERT(train.segment_size > 0 || train.bytes.empty());
  std::size_t sent = 0;
  do {
    Datagrams part = train;
    part.bytes = part.bytes.subspan(sent);
    const std::size_t segments =
        train.bytes.empty()
            ? 1
            : std::clamp<std::size_t>(kTrainSendSizeMax / train.segment_size, 1, kSegmentsMax);
    const std::size_t part_size = std::min(part.bytes.size(), segments * train.segment_size);
    part.bytes = part.bytes.first(part_size);

    const bool is_single = part.bytes.size() <= part.segment_size;
    const Outcome outcome =
        is_single || statistics_.is_segmenting ? send_train(part) : Outcome::split;
    SendResult result{.size = part_size, .is_blocked = outcome == Outcome::blocked};
    if (outcome == Outcome::split) result = send_singly(part);
    if (result.is_blocked) {
      if (outcome == Outcome::blocked) result.size = 0;
      ++statistics_.sends_blocked;
      if (handlers_.on_writable) watch_.want_writable();
      return {.size = sent + result.size, .is_blocked = true};
    }
    sent += part_size;
  } while (sent < train.bytes.size());
  return {.size = sent};
}

// Sends at most kSegmentsMax segments in one call.
UdpSocket::Impl::Outcome UdpSocket::Impl::send_train(const Datagrams& train) {
  NativeAddress remote(train.remote);
  // sendmsg does not write to the bytes.
  iovec vector{.iov_base = const_cast<std::byte*>(train.bytes.data()),  // NOLINT
               .iov_len = train.bytes.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (!is_connected_) {
    message.msg_name = &remote.generic;
    message.msg_namelen = remote.size;
  }
  const bool is_segmented = train.bytes.size() > train.segment_size;
  Control control{};
  ControlWriter controls(message, control);
  if (is_segmented) {
    controls.add(SOL_UDP, UDP_SEGMENT, static_cast<std::uint16_t>(train.segment_size));
  }
  add_ecn(controls, local_.ip.is_v4(), train.ecn);

  for (int tries = 0;; ++tries) {
    if (::sendmsg(socket_.number(), &message, 0) >= 0) {
      ++statistics_.trains_sent;
      statistics_.bytes_sent += train.bytes.size();
      return Outcome::done;
    }
    const int error = errno;
    if (error == EINTR) continue;
    if (error == EAGAIN) return Outcome::blocked;
    // The answer to an earlier datagram, told now; this one was not tried.
    if (error == ECONNREFUSED && tries == 0) continue;
    if (is_segmented && error == EIO) statistics_.is_segmenting = false;
    if (is_segmented && (error == EIO || error == EINVAL || error == EMSGSIZE)) {
      return Outcome::split;
    }
    drop(train, error);
    return Outcome::done;
  }
}

// Sends the datagrams of a train, at most kSegmentsMax, each on its own.
UdpSocket::SendResult UdpSocket::Impl::send_singly(const Datagrams& train) {
  NativeAddress remote(train.remote);
  Control control{};
  msghdr common{};
  if (!is_connected_) {
    common.msg_name = &remote.generic;
    common.msg_namelen = remote.size;
  }
  ControlWriter controls(common, control);
  add_ecn(controls, local_.ip.is_v4(), train.ecn);

  const std::size_t count = segment_count(train);
  ZT_ASSERT(count <= kSegmentsMax);
  for (std::size_t i = 0; i < count; ++i) {
    const auto bytes = train.bytes.subspan(i * train.segment_size);
    memory_.single_vectors[i] = {
        .iov_base = const_cast<std::byte*>(bytes.data()),  // NOLINT: see send_train.
        .iov_len = std::min(bytes.size(), train.segment_size)};
    memory_.single_messages[i] = {.msg_hdr = common};
    memory_.single_messages[i].msg_hdr.msg_iov = &memory_.single_vectors[i];
    memory_.single_messages[i].msg_hdr.msg_iovlen = 1;
  }
  std::size_t next = 0;
  while (next < count) {
    const int sent = ::sendmmsg(socket_.number(), &memory_.single_messages[next],
                                static_cast<unsigned>(count - next), 0);
    if (sent > 0) {
      for (int i = 0; i < sent; ++i) {
        statistics_.bytes_sent += memory_.single_vectors[next++].iov_len;
        ++statistics_.trains_sent;
      }
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return {.size = next * train.segment_size, .is_blocked = true};
    const iovec& refused = memory_.single_vectors[next++];
    drop({.bytes = train.bytes.first(refused.iov_len), .segment_size = train.segment_size}, errno);
  }
  return {.size = train.bytes.size()};
}

void UdpSocket::Impl::drop(const Datagrams& train, int error_number) {
  const std::size_t count = segment_count(train);
  (error_number == EMSGSIZE ? statistics_.datagrams_dropped_size
                            : statistics_.datagrams_dropped_error) += count;
}

std::expected<std::unique_ptr<UdpSocket>, SocketError> UdpSocket::bind(Loop& loop,
                                                                       UdpBuffers& buffers,
                                                                       const SocketAddress& local,
                                                                       const Options& options,
                                                                       Handlers handlers) {
  auto socket = open_socket(local.ip.is_v4(), options);
  if (!socket) return std::unexpected(socket.error());
  const NativeAddress native(local);
  if (::bind(socket->number(), &native.generic, native.size) != 0) {
    return std::unexpected(to_socket_error(errno));
  }
  const auto bound = local_address_of(socket->number());
  if (!bound) return std::unexpected(SocketError::failed);
  return std::unique_ptr<UdpSocket>(
      new UdpSocket(std::make_unique<Impl>(loop, *buffers.memory_, std::move(*socket), *bound,
                                           /*is_connected=*/false, options, std::move(handlers))));
}

std::expected<std::unique_ptr<UdpSocket>, SocketError> UdpSocket::connect(
    Loop& loop, UdpBuffers& buffers, const SocketAddress& remote, const Options& options,
    Handlers handlers) {
  auto socket = open_socket(remote.ip.is_v4(), options);
  if (!socket) return std::unexpected(socket.error());
  const NativeAddress native(remote);
  if (::connect(socket->number(), &native.generic, native.size) != 0) {
    return std::unexpected(to_socket_error(errno));
  }
  const auto bound = local_address_of(socket->number());
  if (!bound) return std::unexpected(SocketError::failed);
  return std::unique_ptr<UdpSocket>(
      new UdpSocket(std::make_unique<Impl>(loop, *buffers.memory_, std::move(*socket), *bound,
                                           /*is_connected=*/true, options, std::move(handlers))));
}

UdpSocket::UdpSocket(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UdpSocket::~UdpSocket() = default;

UdpSocket::SendResult UdpSocket::send(const Datagrams& datagrams) {
  return impl_->send(datagrams);
}
const SocketAddress& UdpSocket::local() const {
  return impl_->local();
}
const UdpStatistics& UdpSocket::statistics() const {
  return impl_->statistics();
}

UdpBufferSizes UdpSocket::buffer_sizes() const {
  return {.receive = granted_size(impl_->number(), SO_RCVBUF),
          .send = granted_size(impl_->number(), SO_SNDBUF)};
}

// --- UdpPort

std::expected<std::unique_ptr<UdpPort>, SocketError> UdpPort::bind(
    Loop& loop, UdpBuffers& buffers, const Local& local, const UdpSocket::Options& options,
    UdpSocket::Handlers handlers) {
  std::unique_ptr<UdpPort> port(new UdpPort(std::move(handlers)));
  const auto bind_one = [&](const IpAddress& ip, std::uint16_t number) {
    return UdpSocket::bind(loop, buffers, {ip, number}, options, port->forwarding());
  };
  if (local.ip) {
    auto socket = bind_one(*local.ip, local.port);
    if (!socket) return std::unexpected(socket.error());
    (local.ip->is_v4() ? port->v4_ : port->v6_) = std::move(*socket);
    return port;
  }
  // Any IPv4 port may be taken in IPv6: then another one is tried.
  const int tries_max = local.port == 0 ? 16 : 1;
  SocketError error = SocketError::failed;
  for (int i = 0; i < tries_max; ++i) {
    auto v6 = bind_one(IpAddress::v6({}), local.port);
    if (!v6 && v6.error() == SocketError::in_use) return std::unexpected(v6.error());
    auto v4 = bind_one(IpAddress::v4({}), v6 ? (*v6)->local().port : local.port);
    if (!v4 && v4.error() == SocketError::in_use) {
      error = v4.error();
      continue;
    }
    if (!v4 && !v6) return std::unexpected(v4.error());
    if (v4) port->v4_ = std::move(*v4);
    if (v6) port->v6_ = std::move(*v6);
    return port;
  }
  return std::unexpected(error);
}

UdpPort::~UdpPort() = default;

UdpSocket::Handlers UdpPort::forwarding() {
  UdpSocket::Handlers handlers;
  handlers.on_datagrams = [this](const Datagrams& train) { handlers_.on_datagrams(train); };
  if (handlers_.on_writable) handlers.on_writable = [this] { handlers_.on_writable(); };
  return handlers;
}

UdpSocket::SendResult UdpPort::send(const Datagrams& datagrams) {
  UdpSocket* socket = datagrams.remote.ip.is_v4() ? v4_.get() : v6_.get();
  if (socket != nullptr) return socket->send(datagrams);
  datagrams_without_family_ += segment_count(datagrams);
  return {.size = datagrams.bytes.size()};
}

std::uint16_t UdpPort::port() const {
  return (v4_ ? v4_ : v6_)->local().port;
}

UdpBufferSizes UdpPort::buffer_sizes() const {
  if (!v4_) return v6_->buffer_sizes();
  if (!v6_) return v4_->buffer_sizes();
  const UdpBufferSizes v4 = v4_->buffer_sizes();
  const UdpBufferSizes v6 = v6_->buffer_sizes();
  return {.receive = std::min(v4.receive, v6.receive), .send = std::min(v4.send, v6.send)};
}

UdpStatistics UdpPort::statistics() const {
  UdpStatistics sum;
  if (v4_) sum += v4_->statistics();
  if (v6_) sum += v6_->statistics();
  sum.datagrams_dropped_error += datagrams_without_family_;
  return sum;
}

}  // namespace zt::io
