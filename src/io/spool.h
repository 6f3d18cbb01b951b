// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/spool.h: a file that grows by lines, survives kill -9 at once and a power cut soon, and is
// replaced as a whole now and then.
//
// Theory of operation
//   append() hands the text to the kernel at once: from then on the death of this process cannot
//   lose it. A thread flushes the file to the disk (fdatasync) behind the loop's back, at most once
//   in `flush_interval`; the loop never waits for a disk.
//   What a power cut can lose: the text of the last `flush_interval`, and of as long as one flush
//   or replacement takes beyond it. It may leave a torn or garbled end, which the reader has to
//   recognise.
//
//   replace() has the thread write a new file beside the old one and flush it. What is appended
//   meanwhile goes to both: when the new file is ready, it gets that too and takes the old one's
//   name. A crash at any moment leaves the one or the other.
//
//   There is no file before the first replace(). After a failure the file is left alone until the
//   next replace(); what is appended in between is the owner's to bring back in that.
//
// Limits   None of its own: the owner bounds the text, and asks for one replacement at a time (a
//          second one takes the place of the first).
// Threads  One, which only writes and flushes the files that it is given; callbacks come from the
//          loop. The destructor waits for it, and flushes the file a last time.
// Threats  The file is created readable by its owner only, in a directory that only the owner may
//          enter; a symbolic link in its place is not followed.

#include <condition_variable>
#include <expected>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include "io/descriptor.h"
#include "io/files.h"
#include "io/loop.h"
#include "zt/base/time.h"

namespace zt::io {

class Spool {
 public:
  struct Limits {
    Duration flush_interval = std::chrono::milliseconds(50);
  };
  // Called after each flush and each replacement. After an error call replace(): what was appended
  // since the last success may be lost.
  using OnResult = std::move_only_function<void(std::expected<void, FileError>)>;

  // `loop` outlives the spool.
  Spool(Loop& loop, std::filesystem::path path, const Limits& limits, OnResult on_result);
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;
  ~Spool();

  // append adds to the end. An error is one of OnResult, told at once.
  [[nodiscard]] std::expected<void, FileError> append(std::string_view text);
  // replace makes `text` the whole content.
  void replace(std::string text);

 private:
  // A piece of work for the thread: flush `file`, or make a file of `text`.
  struct Job {
    int file = -1;
    bool is_named_anew = false;  // Flush the directory too.
    std::optional<std::string> text;
  };
  struct Done {
    std::expected<void, FileError> result;
    Descriptor made;
  };

  void work(const std::stop_token& stop);
  [[nodiscard]] Done carry_out(const Job& job) const;
  void next();
  void start(Job job);
  void take_done();
  [[nodiscard]] std::expected<void, FileError> take_place(Descriptor made);

  Loop& loop_;
  const std::filesystem::path path_;
  const std::filesystem::path new_path_;
  const Limits limits_;
  OnResult on_result_;

  Descriptor file_;                    // None before the first replacement.
  bool is_sound_ = false;              // There is a file_, and nothing failed on it.
  bool is_unflushed_ = false;          // Text of file_.
  bool is_named_anew_ = false;         // The name of file_ is not flushed yet.
  std::optional<std::string> wanted_;  // The content of a replacement that has not begun.
  bool is_replacing_ = false;          // The thread makes a file.
  std::string meanwhile_;              // Appended since replace().
  bool is_busy_ = false;
  std::optional<Instant> flushed_at_;  // When the last flush began.
  Timer timer_;

  Descriptor event_;  // The thread writes to it when it is done.
  Watch watch_;
  std::mutex mutex_;  // Over the next three.
  std::condition_variable_any wake_;
  std::optional<Job> job_;
  std::optional<Done> done_;
  std::jthread thread_;
};

}  // namespace zt::io
