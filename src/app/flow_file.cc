// SPDX-License-Identifier: Apache-2.0
#include "app/flow_file.h"

#include <utility>

namespace zt::app {

namespace {

constexpr std::size_t kSizeMax = 256 << 20;

}  // namespace

FlowFile::FlowFile(io::Loop& loop, Log& log, std::filesystem::path path,
                   std::move_only_function<void()> on_failed)
    : loop_(loop),
      log_(log),
      path_(std::move(path)),
      on_failed_(std::move(on_failed)),
      spool_(loop, path_, {},
             [this](std::expected<void, io::FileError> result) { take_result(result); }) {}

std::string FlowFile::read() {
  auto text = io::read_file(path_, kSizeMax);
  if (text) return std::move(*text);
  if (text.error() != io::FileError::not_found) {
    log_.write(LogLevel::error, "flow reports of the run before cannot be read",
               {{"file", path_.string()}, {"reason", std::string(io::to_text(text.error()))}},
               loop_.now().unix_time);
  }
  return {};
}

void FlowFile::keep(node::KeepFlows& keep) {
  if (keep.is_whole) {
    spool_.replace(std::move(keep.text));
  } else if (const auto appended = spool_.append(keep.text); !appended) {
    take_result(appended);
  }
}

void FlowFile::take_result(std::expected<void, io::FileError> result) {
  const bool is_news = std::exchange(is_failing_, !result) == result.has_value();
  if (is_news && !result) {
    log_.write(LogLevel::warn, "flow reports cannot be kept: a crash would lose them",
               {{"file", path_.string()}, {"reason", std::string(io::to_text(result.error()))}},
               loop_.now().unix_time);
  } else if (is_news) {
    log_.write(LogLevel::info, "flow reports are kept again", {}, loop_.now().unix_time);
  }
  if (!result) on_failed_();
}

}  // namespace zt::app
