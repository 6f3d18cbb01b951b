// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target over the saved inputs in a folder, without a fuzzer: `fuzz_<name> FOLDER`.
//
// Each input is followed by its neighbours: every way to cut it short, and every single bit turned
// over near its start. So a small corpus reaches each check of a length or a tag, and a run is the
// same every time. A target that finds a fault ends the process; the input's name was printed last.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

constexpr std::size_t kCutsMax = 4096;
constexpr std::size_t kTurnedBytesMax = 256;

// The input is copied to memory of its own size, so that a sanitizer sees a read past its end.
void run(const std::uint8_t* data, std::size_t size) {
  const Input exact(data, data + size);
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

void run_with_neighbours(Input input) {
  run(input.data(), input.size());
  for (std::size_t size = 0; size < std::min(input.size(), kCutsMax); ++size) {
    run(input.data(), size);
  }
  for (std::size_t i = 0; i < std::min(input.size(), kTurnedBytesMax); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      const std::uint8_t original = input[i];
      input[i] = static_cast<std::uint8_t>(original ^ (1U << bit));
      run(input.data(), input.size());
      input[i] = original;
    }
  }
}

Input read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> paths;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) {
      paths.emplace_back(argv[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (entry.is_regular_file()) paths.push_back(entry.path());
    }
  }
  std::ranges::sort(paths);  // The order of a directory is the file system's own.

  run_with_neighbours({});
  for (const auto& path : paths) {
    std::printf("%s\n", path.c_str());
    std::fflush(stdout);
    run_with_neighbours(read(path));
  }
  std::printf("%zu passed, 0 failed, 0 skipped\n", paths.size() + 1);
}
