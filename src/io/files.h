// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/files.h: whole files, written so that a crash leaves the old or the new one, never a part.
//
// Theory of operation
//   A file is replaced by writing a temporary beside it, flushing that to the disk, renaming it
//   over the old one, and flushing the directory. A reader at any moment, and the next start after
//   a power cut, sees one of the two. State lives in a directory that only its owner may enter, and
//   one process at a time holds its lock.
//
// Limits   A size for each read.
// Threats  Symbolic links at the last step of a path are not followed (O_NOFOLLOW): a directory
// that
//          others can write cannot make us read or write elsewhere. Only regular files are read.
//          Secrets are created with mode 0600; there is no moment at which others could open them.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <string>
#include <string_view>

#include "io/descriptor.h"
#include "zt/base/bytes.h"
#include "zt/base/secret.h"

namespace zt::io {

enum class FileError : std::uint8_t {
  not_found,   // The file or a directory on its way does not exist.
  denied,      // File mode, ownership or a read-only file system forbids it.
  not_a_file,  // Something else is there: a directory, a symbolic link, a device.
  too_large,   // Larger than the caller's limit.
  full,        // No space or quota on the disk. The old file is untouched.
  locked,      // Another process holds the lock.
  exists,      // It should have been new.
  insecure,    // Others than the owner may read or write what must be private.
  failed,      // Anything else (input/output error, …).
};

[[nodiscard]] std::string_view to_text(FileError error);

// FileMode is who may read a file. Only the owner may write.
enum class FileMode : std::uint8_t {
  secret,       // 0600
  public_read,  // 0644, within the process's umask.
};

// read_file returns the whole file. Errors: not_found, denied, not_a_file, too_large, failed.
[[nodiscard]] std::expected<std::string, FileError> read_file(const std::filesystem::path& path,
                                                              std::size_t size_max);

// read_secret_file reads a file that holds a secret; `insecure` if group or others may read or
// write it, or if it belongs to neither this user nor root.
[[nodiscard]] std::expected<Secret, FileError> read_secret_file(const std::filesystem::path& path,
                                                                std::size_t size_max);

// write_file replaces `path` as a whole, or creates it. When it returns without an error the file
// survives a power cut. Errors: not_found (no directory), denied, full, failed.
[[nodiscard]] std::expected<void, FileError> write_file(const std::filesystem::path& path,
                                                        BytesView bytes, FileMode mode);

// create_file is write_file for a path where nothing may be yet, or `exists`.
[[nodiscard]] std::expected<void, FileError> create_file(const std::filesystem::path& path,
                                                         BytesView bytes, FileMode mode);

// remove_file removes a file; that there is none is not an error.
[[nodiscard]] std::expected<void, FileError> remove_file(const std::filesystem::path& path);

// make_private_directory makes `path` (not its parents) with mode 0700, or accepts one that is
// there if it belongs to this user and nobody else may enter or read it; else `insecure`.
[[nodiscard]] std::expected<void, FileError> make_private_directory(
    const std::filesystem::path& path);

// FileLock keeps other processes out as long as it lives; the kernel drops it if we die. Movable.
class FileLock {
 public:
  // acquire locks the file `path`, which it makes if need be and never removes. It does not wait:
  // `locked` if another process, or another FileLock of this one, holds it.
  [[nodiscard]] static std::expected<FileLock, FileError> acquire(
      const std::filesystem::path& path);

 private:
  explicit FileLock(Descriptor file) : file_(std::move(file)) {}
  Descriptor file_;
};

}  // namespace zt::io
