// SPDX-License-Identifier: Apache-2.0
#pragma once
// own_namespace.h: a network namespace of a test's own, which ip(8) changes.

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "io/descriptor.h"

namespace zt::io {

// The thread is in a new network namespace, with an interface "lo" that is down, until the end.
class OwnNamespace {
 public:
  OwnNamespace() : before_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    if (!before_.is_open() || ::unshare(CLONE_NEWNET) != 0) {
      before_.close();
      SKIP("needs to be allowed a network namespace of its own");
    }
  }
  OwnNamespace(const OwnNamespace&) = delete;
  OwnNamespace& operator=(const OwnNamespace&) = delete;
  ~OwnNamespace() {
    if (before_.is_open()) (void)::setns(before_.number(), CLONE_NEWNET);
  }

 private:
  Descriptor before_;
};

// Runs ip(8) with these words and returns its exit status.
inline int run_ip(const std::string& line) {
  std::vector<std::string> words{"ip"};
  std::istringstream text(line);
  for (std::string word; text >> word;) words.push_back(word);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  if (::posix_spawnp(&child, "ip", nullptr, nullptr, arguments.data(), environ) != 0) {
    SKIP("needs ip(8) of iproute2");
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

inline void ip(const std::string& line) {
  INFO("ip " << line);
  REQUIRE(run_ip(line) == 0);
}

}  // namespace zt::io
