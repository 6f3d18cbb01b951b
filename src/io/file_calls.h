// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/file_calls.h: the system calls that the writers of files have in common.

#include <cerrno>
#include <expected>
#include <filesystem>

#include "io/descriptor.h"
#include "io/files.h"
#include "zt/base/bytes.h"

namespace zt::io {

// to_file_error tells what an errno value means for a file.
[[nodiscard]] FileError to_file_error(int error_number);

[[nodiscard]] inline std::unexpected<FileError> last_file_error() {
  return std::unexpected(to_file_error(errno));
}

// write_all writes all of `bytes`, or fails after a part of them.
[[nodiscard]] std::expected<void, FileError> write_all(const Descriptor& file, BytesView bytes);

// flush_directory_of makes a name that was given to the file `path` survive a power cut.
[[nodiscard]] std::expected<void, FileError> flush_directory_of(const std::filesystem::path& path);

}  // namespace zt::io
