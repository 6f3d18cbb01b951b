// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/flow_file.h: flows.log in a node's state directory: flow reports that a crash must not lose.
//
// Theory of operation
//   The node says what to keep (node/flow_journal.h), the spool keeps it (io/spool.h). If that
//   fails (a full disk), people are told once and when it works again; the node goes on serving,
//   has its reports in memory, and asks to keep the whole anew after a while.
//
// Limits   kSizeMax of a file that is read; the journal keeps far less.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "app/log.h"
#include "io/loop.h"
#include "io/spool.h"
#include "node/flow_journal.h"

namespace zt::app {

class FlowFile {
 public:
  // `loop` and `log` outlive the file. `on_failed` is called when something was not kept; not from
  // within the constructor.
  FlowFile(io::Loop& loop, Log& log, std::filesystem::path path,
           std::move_only_function<void()> on_failed);
  FlowFile(const FlowFile&) = delete;
  FlowFile& operator=(const FlowFile&) = delete;

  // read returns what an earlier run kept; empty if there is nothing, or if it cannot be read,
  // which is logged.
  [[nodiscard]] std::string read();
  void keep(node::KeepFlows& keep);

 private:
  void take_result(std::expected<void, io::FileError> result);

  io::Loop& loop_;
  Log& log_;
  const std::filesystem::path path_;
  std::move_only_function<void()> on_failed_;
  bool is_failing_ = false;
  io::Spool spool_;
};

}  // namespace zt::app
