// SPDX-License-Identifier: Apache-2.0
#pragma once
// io/descriptor.h: a file descriptor that is closed exactly once.

#include <utility>

namespace zt::io {

class Descriptor {
 public:
  Descriptor() = default;
  // Descriptor takes over `number`; a negative one means "none".
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      close();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }
  ~Descriptor() { close(); }

  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] bool is_open() const { return number_ >= 0; }

  // release hands the number over to the caller, who closes it.
  [[nodiscard]] int release() { return std::exchange(number_, -1); }

  // close closes without an answer: after close(2) the number is gone even if it reports an error.
  void close() noexcept;

 private:
  int number_ = -1;
};

}  // namespace zt::io
