// SPDX-License-Identifier: Apache-2.0
#include "io/resolver.h"

#include <ares.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "io/native_address.h"
#include "zt/base/assert.h"

namespace zt::io {
namespace {

struct FreeAnswer {
  void operator()(ares_addrinfo* answer) const { ares_freeaddrinfo(answer); }
};
using AresAnswer = std::unique_ptr<ares_addrinfo, FreeAnswer>;

struct DestroyChannel {
  void operator()(ares_channel_t* channel) const { ares_destroy(channel); }
};

ResolveError to_resolve_error(int status) {
  switch (status) {
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
    case ARES_EBADNAME:
      return ResolveError::not_found;
    case ARES_ETIMEOUT:
      return ResolveError::timed_out;
    case ARES_ENOMEM:
      return ResolveError::limit;
    default:
      return ResolveError::failed;
  }
}

Resolver::Answer to_answer(const ares_addrinfo& list, std::size_t addresses_max) {
  Resolver::Answer answer;
  std::optional<int> ttl;
  for (const ares_addrinfo_node* node = list.nodes; node != nullptr; node = node->ai_next) {
    const auto address = from_native(node->ai_addr, node->ai_addrlen);
    if (!address || answer.addresses.size() == addresses_max) continue;
    // The hosts file may say the same twice.
    if (std::ranges::find(answer.addresses, address->ip) != answer.addresses.end()) continue;
    answer.addresses.push_back(address->ip);
    ttl = ttl ? std::min(*ttl, node->ai_ttl) : node->ai_ttl;
  }
  answer.ttl = std::chrono::seconds(std::max(ttl.value_or(0), 0));
  return answer;
}

// FileVersion tells whether a file was written or replaced.
struct FileVersion {
  ino_t inode = 0;
  std::int64_t seconds = 0;
  std::int64_t nanoseconds = 0;
  friend bool operator==(const FileVersion&, const FileVersion&) = default;

  static FileVersion of(const std::string& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) return {};
    return {status.st_ino, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
  }
};

int to_milliseconds(Duration duration) {
  const auto count = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  return static_cast<int>(std::clamp<std::int64_t>(count, 1, 3'600'000));
}

}  // namespace

std::string_view to_text(ResolveError error) {
  switch (error) {
    case ResolveError::not_found:
      return "no such name";
    case ResolveError::timed_out:
      return "no answer from the name servers";
    case ResolveError::failed:
      return "the name servers failed";
    case ResolveError::limit:
      return "too many lookups";
  }
  return "failed";
}

class Lookup::Impl {
 public:
  // Question is what c-ares holds: it outlives a lookup that is withdrawn.
  struct Question {
    Resolver::Impl* resolver;
    Impl* lookup;  // Null once it is withdrawn or has timed out.
  };

  Impl(Resolver::Impl& resolver, const DnsName& name, OnEnd on_end);
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { withdraw(); }

  void end(std::expected<Resolver::Answer, ResolveError> result);

 private:
  friend class Resolver::Impl;
  void withdraw();

  OnEnd on_end_;
  Question* question_ = nullptr;
  std::expected<Resolver::Answer, ResolveError> result_ = std::unexpected(ResolveError::failed);
  Timer timeout_;
  Deferred report_;
};

class Resolver::Impl {
 public:
  Impl(Loop& loop, const Options& options);
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl();

  Loop& loop() { return loop_; }
  [[nodiscard]] Instant deadline() const { return loop_.now().instant + options_.total_timeout; }

  // ask gives the question to c-ares, which may answer before it returns.
  void ask(const DnsName& name, Lookup::Impl::Question* question);
  [[nodiscard]] bool is_full() const { return questions_ >= options_.lookups_max; }
  void answer(Lookup::Impl::Question* question, int status, AresAnswer list);

 private:
  struct Socket {
    std::unique_ptr<Watch> watch;
    bool is_reading = false;
    bool is_writing = false;
  };

  static void on_answer(void* argument, int status, int timeouts, ares_addrinfo* list) noexcept;
  static void on_socket(void* argument, ares_socket_t number, int readable, int writable) noexcept;
  void note_socket(int number, bool is_reading, bool is_writing);
  void process(int readable, int writable);
  void listen(int number);
  void arm_timer();
  void follow_resolv_conf();

  Loop& loop_;
  const Options options_;
  FileVersion resolv_conf_;
  std::map<int, Socket> sockets_;
  std::size_t questions_ = 0;
  Timer timer_;
  std::unique_ptr<ares_channel_t, DestroyChannel> channel_;
};

Resolver::Impl::Impl(Loop& loop, const Options& options)
    : loop_(loop),
      options_(options),
      resolv_conf_(FileVersion::of(options.resolv_conf_path)),
      timer_(loop, [this] { process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); }) {
  std::string lookups = "fb";  // The hosts file, then DNS, whatever nsswitch.conf says.
  std::string resolv_conf = options_.resolv_conf_path;
  std::string hosts = options_.hosts_path;
  const ares_options settings{
      .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS | ARES_FLAG_DNS0x20,
      .timeout = to_milliseconds(options_.attempt_timeout),
      .tries = options_.tries_max,
      .lookups = lookups.data(),
      .sock_state_cb = &on_socket,
      .sock_state_cb_data = this,
      .resolvconf_path = resolv_conf.data(),
      .hosts_path = hosts.data(),
      .maxtimeout = to_milliseconds(options_.total_timeout),
      .qcache_max_ttl = static_cast<unsigned>(options_.cache_ttl_max.count()),
  };
  ares_channel_t* channel = nullptr;
  const int status =
      ares_init_options(&channel, &settings,
                        ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
                            ARES_OPT_SOCK_STATE_CB | ARES_OPT_RESOLVCONF | ARES_OPT_HOSTS_FILE |
                            ARES_OPT_MAXTIMEOUTMS | ARES_OPT_QUERY_CACHE);
  ZT_ASSERT(status == ARES_SUCCESS);  // Else there is no memory: a missing file is no error.
  channel_.reset(channel);
  if (options_.servers.empty()) return;
  std::string servers;
  for (const SocketAddress& server : options_.servers) servers += server.to_text() + ",";
  const int result = ares_set_servers_ports_csv(channel, servers.c_str());
  ZT_ASSERT(result == ARES_SUCCESS);
}

Resolver::Impl::~Impl() {
  channel_.reset();  // Ends each question, which looks into this object.
  ZT_ASSERT(questions_ == 0);
}

void Resolver::Impl::ask(const DnsName& name, Lookup::Impl::Question* question) {
  follow_resolv_conf();
  ++questions_;
  const ares_addrinfo_hints hints{
      .ai_flags = 0, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  ares_getaddrinfo(channel_.get(), name.text().c_str(), nullptr, &hints, &on_answer, question);
  arm_timer();
}

void Resolver::Impl::on_answer(void* argument, int status, int /*timeouts*/,
                               ares_addrinfo* list) noexcept {
  auto* question = static_cast<Lookup::Impl::Question*>(argument);
  question->resolver->answer(question, status, AresAnswer(list));
}

void Resolver::Impl::answer(Lookup::Impl::Question* question, int status, AresAnswer list) {
  --questions_;
  const std::unique_ptr<Lookup::Impl::Question> own(question);
  if (question->lookup == nullptr) return;
  question->lookup->question_ = nullptr;
  if (status != ARES_SUCCESS || !list) {
    return question->lookup->end(std::unexpected(to_resolve_error(status)));
  }
  Answer answer = to_answer(*list, options_.addresses_max);
  if (answer.addresses.empty()) {
    return question->lookup->end(std::unexpected(ResolveError::not_found));
  }
  question->lookup->end(std::move(answer));
}

void Resolver::Impl::on_socket(void* argument, ares_socket_t number, int readable,
                               int writable) noexcept {
  static_cast<Impl*>(argument)->note_socket(number, readable != 0, writable != 0);
}

// c-ares says what it wants of a socket of its own; neither means that it is about to close it.
void Resolver::Impl::note_socket(int number, bool is_reading, bool is_writing) {
  if (!is_reading && !is_writing) {
    sockets_.erase(number);
    return;
  }
  Socket& socket = sockets_[number];
  if (!socket.watch) {
    socket.watch = std::make_unique<Watch>(
        loop_, number, [this, number] { process(number, ARES_SOCKET_BAD); },
        [this, number] { process(ARES_SOCKET_BAD, number); });
  }
  socket.is_reading = is_reading;
  socket.is_writing = is_writing;
  listen(number);
}

void Resolver::Impl::listen(int number) {
  const auto found = sockets_.find(number);
  if (found == sockets_.end()) return;
  Socket& socket = found->second;
  socket.is_reading ? socket.watch->want_readable() : socket.watch->ignore_readable();
  socket.is_writing ? socket.watch->want_writable() : socket.watch->ignore_writable();
}

void Resolver::Impl::process(int readable, int writable) {
  ares_process_fd(channel_.get(), readable, writable);
  if (readable != ARES_SOCKET_BAD) listen(readable);
  if (writable != ARES_SOCKET_BAD) listen(writable);
  arm_timer();
}

void Resolver::Impl::arm_timer() {
  timeval space{};
  const timeval* wait = ares_timeout(channel_.get(), nullptr, &space);
  if (wait == nullptr) return timer_.cancel();
  timer_.arm(loop_.now().instant + std::chrono::seconds(wait->tv_sec) +
             std::chrono::microseconds(wait->tv_usec));
}

void Resolver::Impl::follow_resolv_conf() {
  if (!options_.servers.empty()) return;
  const FileVersion version = FileVersion::of(options_.resolv_conf_path);
  if (version == resolv_conf_) return;
  resolv_conf_ = version;
  (void)ares_reinit(channel_.get());  // On failure the servers stay as they are.
}

Lookup::Impl::Impl(Resolver::Impl& resolver, const DnsName& name, OnEnd on_end)
    : on_end_(std::move(on_end)),
      timeout_(resolver.loop(),
               [this] {
                 withdraw();
                 end(std::unexpected(ResolveError::timed_out));
               }),
      report_(resolver.loop(), [this] {
        auto report_to = std::move(on_end_);
        report_to(std::move(result_));
      }) {
  if (resolver.is_full()) {
    end(std::unexpected(ResolveError::limit));
    return;
  }
  timeout_.arm(resolver.deadline());
  // Owned by c-ares until Resolver::Impl::answer.
  question_ = new Question{.resolver = &resolver, .lookup = this};  // NOLINT
  resolver.ask(name, question_);
}

void Lookup::Impl::end(std::expected<Resolver::Answer, ResolveError> result) {
  timeout_.cancel();
  result_ = std::move(result);
  report_.schedule();
}

void Lookup::Impl::withdraw() {
  if (question_ != nullptr) question_->lookup = nullptr;
  question_ = nullptr;
}

Resolver::Resolver(Loop& loop, const Options& options)
    : impl_(std::make_unique<Impl>(loop, options)) {}
Resolver::~Resolver() = default;

Lookup::Lookup(Resolver& resolver, const DnsName& name, OnEnd on_end)
    : impl_(std::make_unique<Impl>(*resolver.impl_, name, std::move(on_end))) {}
Lookup::~Lookup() = default;

}  // namespace zt::io
