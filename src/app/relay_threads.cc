// SPDX-License-Identifier: Apache-2.0
#include "app/relay_threads.h"

#include <algorithm>
#include <csignal>
#include <optional>
#include <thread>
#include <utility>

#include "node/tcp_links.h"
#include "zt/base/bytes.h"
#include "zt/relay/dispatch.h"

namespace zt::app {

// Thread is one loop with its socket and its replica. Until start() and after the join all of it
// belongs to the first thread; in between only what says so.
class RelayThreads::Thread {
 public:
  Thread(RelayThreads& all, Random& random) : all_(all), replica_(random) {}
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;
  ~Thread() { stop(); }

  [[nodiscard]] std::expected<void, io::SocketError> bind(const io::UdpPort::Local& local,
                                                          const io::UdpSocket::Options& options) {
    auto port = io::UdpPort::bind(
        loop_, buffers_, local, options,
        {.on_datagrams = [this](const io::Datagrams& datagrams) { take(datagrams); },
         .on_writable = {},
         .on_error = {}});
    if (!port) return std::unexpected(port.error());
    port_ = std::move(*port);
    return {};
  }

  void start() {
    thread_ = std::jthread([this] {
      sigset_t signals;
      (void)::sigfillset(&signals);
      (void)::pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // They are the first one's business.
      loop_.run();
    });
  }

  void stop() {
    if (!thread_.joinable()) return;
    loop_.stop();
    thread_.join();
  }

  // publish is called by the first thread. An update that does not fit leaves the replica without
  // the right to forward, at once.
  void publish(const relay::Engine& engine, const std::vector<relay::RouteChange>& changes) {
    auto update = feed_.update(engine, changes);
    if (!update) return;
    is_behind_ = !loop_.post([this, update = *std::move(update)] { replica_.take(update); });
    if (!is_behind_) return;
    feed_.lost();
    epoch_.store(feed_.epoch(), std::memory_order_release);
  }
  [[nodiscard]] bool is_behind() const { return is_behind_; }

  // returned is called by the first thread when it has taken what was handed to it.
  void returned(std::size_t size) {
    handed_size_.fetch_sub(size, std::memory_order_relaxed);
    handed_count_.fetch_sub(1, std::memory_order_relaxed);
  }

  [[nodiscard]] const Totals& totals() {
    totals_.forwarding = replica_.totals();
    return totals_;
  }

 private:
  // --- In the thread.

  void take(const io::Datagrams& datagrams) {
    if (node::is_link_address(datagrams.remote.ip)) return;  // Nobody can send from there.
    const Instant now = loop_.now().instant;
    const relay::Epoch epoch = epoch_.load(std::memory_order_acquire);
    relay::for_each_run(datagrams.bytes, datagrams.segment_size, [&](const relay::Run& run) {
      const relay::Verdict verdict =
          relay::dispatch(replica_, epoch, all_.own_route_, datagrams.remote, run, now);
      const io::Datagrams train{.remote = datagrams.remote,
                                .bytes = run.bytes,
                                .segment_size = std::min(run.segment_size, run.bytes.size()),
                                .ecn = datagrams.ecn};
      switch (verdict.place) {
        case relay::Verdict::Place::forward:
          forward(train, verdict.target);
          break;
        case relay::Verdict::Place::own:
          hand_over(train);
          break;
        case relay::Verdict::Place::drop:
          break;
      }
    });
  }

  void forward(io::Datagrams train, const SocketAddress& target) {
    if (node::is_link_address(target.ip)) return hand_over(train);  // It has the links.
    train.remote = target;
    totals_.dropped_size += train.bytes.size() - port_->send(train).size;
  }

  void hand_over(const io::Datagrams& train) {
    const std::size_t size = train.bytes.size();
    const bool has_room =
        handed_size_.fetch_add(size, std::memory_order_relaxed) + size <= kHandedSizeMax;
    const bool is_counted = handed_count_.fetch_add(1, std::memory_order_relaxed) < kHandedMax;
    if (has_room && is_counted && post(train)) {
      ++totals_.handed;
    } else {
      ++totals_.handed_lost;
      returned(size);
    }
  }

  [[nodiscard]] bool post(const io::Datagrams& train) {
    return all_.home_.post([this, bytes = Bytes(train.bytes.begin(), train.bytes.end()),
                            remote = train.remote, segment_size = train.segment_size,
                            ecn = train.ecn] {
      returned(bytes.size());
      all_.on_handed_({.remote = remote, .bytes = bytes, .segment_size = segment_size, .ecn = ecn});
    });
  }

  RelayThreads& all_;
  relay::Replica replica_;
  Totals totals_;
  io::Loop loop_;
  io::UdpBuffers buffers_;
  std::unique_ptr<io::UdpPort> port_;

  // Of the first thread.
  relay::Feed feed_;
  bool is_behind_ = false;

  // Of both.
  std::atomic<relay::Epoch> epoch_{feed_.epoch()};
  std::atomic<std::size_t> handed_size_ = 0;
  std::atomic<std::size_t> handed_count_ = 0;

  std::jthread thread_;
};

RelayThreads::RelayThreads(io::Loop& home, const RouteId& own_route, OnHanded on_handed)
    : home_(home), own_route_(own_route), on_handed_(std::move(on_handed)) {}

RelayThreads::~RelayThreads() {
  stop();
}

std::expected<void, io::SocketError> RelayThreads::add(const io::UdpPort::Local& local,
                                                       const io::UdpSocket::Options& options,
                                                       Random& random) {
  auto thread = std::make_unique<Thread>(*this, random);
  if (const auto bound = thread->bind(local, options); !bound) {
    return std::unexpected(bound.error());
  }
  threads_.push_back(std::move(thread));
  return {};
}

void RelayThreads::start() {
  for (const auto& thread : threads_) thread->start();
}

void RelayThreads::publish(const relay::Engine& engine,
                           const std::vector<relay::RouteChange>& changes) {
  for (const auto& thread : threads_) thread->publish(engine, changes);
}

bool RelayThreads::is_behind() const {
  for (const auto& thread : threads_) {
    if (thread->is_behind()) return true;
  }
  return false;
}

void RelayThreads::stop() {
  for (const auto& thread : threads_) thread->stop();
}

std::vector<RelayThreads::Totals> RelayThreads::totals() const {
  std::vector<Totals> all;
  all.reserve(threads_.size());
  for (const auto& thread : threads_) all.push_back(thread->totals());
  return all;
}

}  // namespace zt::app
