// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/outbox.h: what the engine has to say, in order, until it is polled.

#include <deque>
#include <optional>
#include <utility>

#include "zt/controller/engine.h"

namespace zt::controller {

class Outbox {
 public:
  void put(Engine::Output output) { outputs_.push_back(std::move(output)); }
  void log(LogEvent event) { outputs_.emplace_back(std::move(event)); }

  [[nodiscard]] std::optional<Engine::Output> take() {
    if (outputs_.empty()) return std::nullopt;
    Engine::Output output = std::move(outputs_.front());
    outputs_.pop_front();
    return output;
  }

 private:
  std::deque<Engine::Output> outputs_;  // Drained after every call (base/engine.h).
};

}  // namespace zt::controller
