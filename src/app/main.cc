// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>

#include "app/version.h"

int main(int argc, char** argv) {
  const std::span<char*> words(argv, static_cast<std::size_t>(argc));
  if (words.size() == 2 && std::string_view(words[1]) == "--version") {
    fmt::print("zt {} ({})\n{}", zt::app::version(), zt::app::commit(), zt::app::libraries());
    return EXIT_SUCCESS;
  }
  fmt::print(stderr, "usage: zt --version\n");
  return EXIT_FAILURE;
}
