// SPDX-License-Identifier: Apache-2.0
#include "io/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "io/entropy.h"
#include "io/file_calls.h"

namespace zt::io {
namespace {

constexpr mode_t kOthersMask = S_IRWXG | S_IRWXO;

std::expected<struct stat, FileError> status_of(const Descriptor& file) {
  struct stat status{};
  if (::fstat(file.number(), &status) != 0) return last_file_error();
  return status;
}

// Opens a regular file for reading. O_NONBLOCK: a FIFO in its place must not hold us up.
std::expected<Descriptor, FileError> open_to_read(const std::filesystem::path& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file.is_open()) return last_file_error();
  const auto status = status_of(file);
  if (!status) return std::unexpected(status.error());
  if (!S_ISREG(status->st_mode)) return std::unexpected(FileError::not_a_file);
  return file;
}

// Space is reserved by `size_hint`, so that a secret is not left behind in what a string outgrew.
std::expected<std::string, FileError> read_all(const Descriptor& file, std::size_t size_max,
                                               off_t size_hint) {
  std::string text;
  text.reserve(std::min(size_max, static_cast<std::size_t>(std::max<off_t>(size_hint, 0))));
  std::array<char, 16384> block{};
  for (;;) {
    const ssize_t size = ::read(file.number(), block.data(), block.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) {
      wipe(text.data(), text.size());
      return last_file_error();
    }
    if (size == 0) break;
    if (text.size() + static_cast<std::size_t>(size) > size_max) {
      wipe(text.data(), text.size());
      return std::unexpected(FileError::too_large);
    }
    text.append(block.data(), static_cast<std::size_t>(size));
  }
  wipe(block.data(), block.size());  // It may have been a secret.
  return text;
}

// Temporary is a file that disappears unless it is given its place.
class Temporary {
 public:
  static std::expected<Temporary, FileError> create(const std::filesystem::path& target,
                                                    FileMode mode) {
    std::array<std::byte, 8> salt{};
    KernelRandom().fill(salt);
    std::filesystem::path path = target;
    path += ".new-" + to_hex(salt);
    Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                           mode == FileMode::secret ? 0600 : 0644));
    if (!file.is_open()) return last_file_error();
    return Temporary(std::move(path), std::move(file));
  }

  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  Temporary(Temporary&& other) noexcept
      : path_(std::exchange(other.path_, {})), file_(std::move(other.file_)) {}
  Temporary& operator=(Temporary&&) = delete;
  ~Temporary() {
    if (!path_.empty()) (void)::unlink(path_.c_str());  // Nothing better to do.
  }

  [[nodiscard]] const Descriptor& file() const { return file_; }

  // place moves the file to `target`: over an old one, or only where there is none.
  std::expected<void, FileError> place(const std::filesystem::path& target, bool is_replacing) {
    if (!is_replacing) {
      // The destructor removes the temporary name; the file keeps the other.
      if (::link(path_.c_str(), target.c_str()) != 0) return last_file_error();
      return {};
    }
    if (::rename(path_.c_str(), target.c_str()) != 0) return last_file_error();
    path_.clear();
    return {};
  }

 private:
  Temporary(std::filesystem::path path, Descriptor file)
      : path_(std::move(path)), file_(std::move(file)) {}

  std::filesystem::path path_;
  Descriptor file_;
};

std::expected<void, FileError> write_whole(const std::filesystem::path& path, BytesView bytes,
                                           FileMode mode, bool is_replacing) {
  auto temporary = Temporary::create(path, mode);
  if (!temporary) return std::unexpected(temporary.error());
  if (const auto written = write_all(temporary->file(), bytes); !written) return written;
  if (::fsync(temporary->file().number()) != 0) return last_file_error();
  if (const auto placed = temporary->place(path, is_replacing); !placed) return placed;
  return flush_directory_of(path);
}

bool is_ours(const struct stat& status) {
  return status.st_uid == ::geteuid() || status.st_uid == 0;
}

}  // namespace

FileError to_file_error(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return FileError::not_found;
    case EACCES:
    case EPERM:
    case EROFS:
      return FileError::denied;
    case ELOOP:
    case EISDIR:
    case ENXIO:
      return FileError::not_a_file;
    case EFBIG:
      return FileError::too_large;
    case ENOSPC:
    case EDQUOT:
      return FileError::full;
    case EEXIST:
      return FileError::exists;
    default:
      return FileError::failed;
  }
}

std::expected<void, FileError> write_all(const Descriptor& file, BytesView bytes) {
  while (!bytes.empty()) {
    const ssize_t size = ::write(file.number(), bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return last_file_error();
    bytes = bytes.subspan(static_cast<std::size_t>(size));
  }
  return {};
}

std::expected<void, FileError> flush_directory_of(const std::filesystem::path& path) {
  const auto parent = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  const Descriptor directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.is_open()) return last_file_error();
  if (::fsync(directory.number()) != 0) return last_file_error();
  return {};
}

std::string_view to_text(FileError error) {
  switch (error) {
    case FileError::not_found:
      return "no such file or directory";
    case FileError::denied:
      return "permission denied";
    case FileError::not_a_file:
      return "not a regular file";
    case FileError::too_large:
      return "file too large";
    case FileError::full:
      return "no space left on the disk";
    case FileError::locked:
      return "in use by another process";
    case FileError::exists:
      return "exists already";
    case FileError::insecure:
      return "accessible to other users";
    case FileError::failed:
      return "input/output error";
  }
  return "failed";
}

std::expected<std::string, FileError> read_file(const std::filesystem::path& path,
                                                std::size_t size_max) {
  const auto file = open_to_read(path);
  if (!file) return std::unexpected(file.error());
  const auto status = status_of(*file);
  if (!status) return std::unexpected(status.error());
  return read_all(*file, size_max, status->st_size);
}

std::expected<Secret, FileError> read_secret_file(const std::filesystem::path& path,
                                                  std::size_t size_max) {
  const auto file = open_to_read(path);
  if (!file) return std::unexpected(file.error());
  const auto status = status_of(*file);
  if (!status) return std::unexpected(status.error());
  if ((status->st_mode & kOthersMask) != 0 || !is_ours(*status)) {
    return std::unexpected(FileError::insecure);
  }
  auto text = read_all(*file, size_max, status->st_size);
  if (!text) return std::unexpected(text.error());
  Secret secret{std::string_view(*text)};
  wipe(text->data(), text->size());
  return secret;
}

std::expected<void, FileError> write_file(const std::filesystem::path& path, BytesView bytes,
                                          FileMode mode) {
  return write_whole(path, bytes, mode, /*is_replacing=*/true);
}

std::expected<void, FileError> create_file(const std::filesystem::path& path, BytesView bytes,
                                           FileMode mode) {
  return write_whole(path, bytes, mode, /*is_replacing=*/false);
}

std::expected<void, FileError> remove_file(const std::filesystem::path& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return last_file_error();
  return {};
}

std::expected<void, FileError> make_private_directory(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return last_file_error();
  const Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!directory.is_open()) {
    return errno == ENOTDIR ? std::unexpected(FileError::not_a_file) : last_file_error();
  }
  const auto status = status_of(directory);
  if (!status) return std::unexpected(status.error());
  if (status->st_uid != ::geteuid() || (status->st_mode & kOthersMask) != 0) {
    return std::unexpected(FileError::insecure);
  }
  return {};
}

std::expected<FileLock, FileError> FileLock::acquire(const std::filesystem::path& path) {
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.is_open()) return last_file_error();
  // flock, not fcntl: it belongs to the open file, so a second one in this process excludes too.
  while (::flock(file.number(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::unexpected(FileError::locked);
    if (errno != EINTR) return last_file_error();
  }
  return FileLock(std::move(file));
}

}  // namespace zt::io
