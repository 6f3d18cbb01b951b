// SPDX-License-Identifier: Apache-2.0
#include "io/spool.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <utility>

#include "io/file_calls.h"
#include "zt/base/assert.h"
#include "zt/base/bytes.h"

namespace zt::io {

namespace {

std::filesystem::path with_suffix(std::filesystem::path path, const char* suffix) {
  path += suffix;
  return path;
}

}  // namespace

Spool::Spool(Loop& loop, std::filesystem::path path, const Limits& limits, OnResult on_result)
    : loop_(loop),
      path_(std::move(path)),
      new_path_(with_suffix(path_, ".new")),
      limits_(limits),
      on_result_(std::move(on_result)),
      timer_(loop, [this] { next(); }),
      event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      watch_(loop, event_.number(), [this] { take_done(); }, {}),
      thread_([this](const std::stop_token& stop) { work(stop); }) {
  watch_.want_readable();
}

Spool::~Spool() {
  thread_.request_stop();
  thread_.join();
  if (is_sound_ && is_unflushed_) (void)::fdatasync(file_.number());  // Nobody left to tell.
}

std::expected<void, FileError> Spool::append(std::string_view text) {
  if (wanted_ || is_replacing_) meanwhile_ += text;
  if (!is_sound_) return {};
  if (const auto written = write_all(file_, as_bytes(text)); !written) {
    is_sound_ = false;  // And open: the thread may be flushing it.
    return written;
  }
  is_unflushed_ = true;
  next();
  return {};
}

void Spool::replace(std::string text) {
  wanted_ = std::move(text);
  meanwhile_.clear();
  next();
}

// next gives the thread what there is to do. A replacement flushes what a flush would.
void Spool::next() {
  if (is_busy_) return;
  if (wanted_) {
    is_replacing_ = true;
    return start({.file = -1, .is_named_anew = false, .text = std::exchange(wanted_, {})});
  }
  if (!is_sound_ || !is_unflushed_) return;
  const Instant now = loop_.now().instant;
  if (flushed_at_ && now < *flushed_at_ + limits_.flush_interval) {
    return timer_.arm(*flushed_at_ + limits_.flush_interval);
  }
  flushed_at_ = now;
  is_unflushed_ = false;
  start(
      {.file = file_.number(), .is_named_anew = std::exchange(is_named_anew_, false), .text = {}});
}

void Spool::start(Job job) {
  is_busy_ = true;
  {
    const std::scoped_lock lock(mutex_);
    job_ = std::move(job);
  }
  wake_.notify_one();
}

void Spool::take_done() {
  watch_.want_readable();
  std::uint64_t count = 0;
  if (::read(event_.number(), &count, sizeof(count)) < 0) return;
  std::optional<Done> done;
  {
    const std::scoped_lock lock(mutex_);
    done = std::exchange(done_, {});
  }
  if (!done) return;
  is_busy_ = false;
  std::expected<void, FileError> result = done->result;
  if (std::exchange(is_replacing_, false)) {
    if (wanted_) return next();  // Out of date before it was ready.
    if (result) result = take_place(std::move(done->made));
    meanwhile_.clear();
  } else if (!is_sound_) {
    return next();  // An append has failed since: that this was flushed is no comfort.
  }
  if (!result) is_sound_ = false;
  next();
  on_result_(result);
}

// take_place gives a file that was made the name.
std::expected<void, FileError> Spool::take_place(Descriptor made) {
  if (const auto written = write_all(made, as_bytes(meanwhile_)); !written) return written;
  if (::rename(new_path_.c_str(), path_.c_str()) != 0) return last_file_error();
  file_ = std::move(made);
  is_sound_ = true;
  is_unflushed_ = true;
  is_named_anew_ = true;
  return {};
}

// --- The thread.

void Spool::work(const std::stop_token& stop) {
  sigset_t signals;
  (void)::sigfillset(&signals);
  (void)::pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // They are the loop's business.
  for (;;) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      if (!wake_.wait(lock, stop, [this] { return job_.has_value(); })) return;
      ZT_ASSERT(job_);
      job = *std::move(job_);
      job_.reset();
    }
    Done done = carry_out(job);
    {
      const std::scoped_lock lock(mutex_);
      done_ = std::move(done);
    }
    const std::uint64_t one = 1;
    // It can fail only if nobody has read for 2^64 events.
    (void)!::write(event_.number(), &one, sizeof(one));
  }
}

Spool::Done Spool::carry_out(const Job& job) const {
  const auto failed = [] { return Done{.result = last_file_error(), .made = {}}; };
  if (!job.text) {
    if (::fdatasync(job.file) != 0) return failed();
    return {
        .result = job.is_named_anew ? flush_directory_of(path_) : std::expected<void, FileError>(),
        .made = {}};
  }
  Descriptor made(::open(new_path_.c_str(),
                         O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!made.is_open()) return failed();
  std::expected<void, FileError> result = write_all(made, as_bytes(*job.text));
  if (result && ::fsync(made.number()) != 0) result = last_file_error();
  if (!result) (void)::unlink(new_path_.c_str());  // It may fill the disk.
  return {.result = result, .made = std::move(made)};
}

}  // namespace zt::io
