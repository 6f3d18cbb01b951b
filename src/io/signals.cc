// SPDX-License-Identifier: Apache-2.0
#include "io/signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "zt/base/assert.h"

namespace zt::io {
namespace {

// Where the handler writes to. A handler is given nothing but a number, so this cannot be a member.
// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables)
std::atomic<int> handler_output = -1;

void handle(int number) {
  const int error = errno;
  const auto byte = static_cast<unsigned char>(number);
  (void)!::write(handler_output.load(), &byte, 1);  // A full pipe has said enough.
  errno = error;
}

std::array<Descriptor, 2> open_pipe() {
  std::array<int, 2> ends{};
  const int result = ::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK);
  ZT_ASSERT(result == 0);  // Among the first descriptors of the process.
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

}  // namespace

Signals::Signals(Loop& loop, std::initializer_list<int> numbers,
                 std::move_only_function<void(int)> callback)
    : callback_(std::move(callback)),
      pipe_(open_pipe()),
      watch_(loop, pipe_[0].number(), [this] { take(); }, [] {}) {
  const int before = handler_output.exchange(pipe_[1].number());
  ZT_ASSERT(before == -1);
  for (const int number : numbers) {
    struct sigaction action{};
    action.sa_handler = handle;
    action.sa_flags = SA_RESTART;
    struct sigaction former{};
    const int result = ::sigaction(number, &action, &former);
    ZT_ASSERT(result == 0);  // Only a number that is no signal fails.
    former_.emplace_back(number, former);
  }
  watch_.want_readable();
}

Signals::~Signals() {
  for (const auto& [number, former] : former_) (void)::sigaction(number, &former, nullptr);
  handler_output = -1;
}

void Signals::take() {
  unsigned char number = 0;
  const bool has_one = ::read(pipe_[0].number(), &number, 1) == 1;
  watch_.want_readable();
  if (has_one) callback_(number);
}

}  // namespace zt::io
