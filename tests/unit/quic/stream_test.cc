// SPDX-License-Identifier: Apache-2.0
// The buffers of a stream, against a model.

#include "quic/stream.h"

#include <catch2/catch_test_macros.hpp>
#include <deque>
#include <random>
#include <vector>

#include "quic/fifo.h"
#include "zt/base/random.h"

namespace zt::quic {
namespace {

using View = std::span<const std::byte>;

TEST_CASE("a queue keeps its order through reuse") {
  SeededRandom random(1);
  Fifo<std::uint64_t> fifo;
  std::deque<std::uint64_t> model;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    if (random.below(100) < (i / 2000 % 2 == 0 ? 60U : 40U)) {
      fifo.push(i);
      model.push_back(i);
    } else if (!model.empty()) {
      REQUIRE(fifo.pop() == model.front());
      model.pop_front();
    }
    REQUIRE(fifo.count() == model.size());
    REQUIRE(fifo.is_empty() == model.empty());
    if (!model.empty()) {
      REQUIRE(fifo.front() == model.front());
      REQUIRE(fifo.back() == model.back());
      const std::size_t at = random.below(model.size());
      REQUIRE(fifo[at] == model[at]);
    }
  }
}

TEST_CASE("a send buffer gives out each byte once and keeps it until it is acknowledged") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    SeededRandom random(seed);
    ChunkPool pool;
    const std::size_t size_max = 1 + random.below(400'000);
    const std::size_t untaken_size_max = 1 + random.below(400'000);
    SendBuffer buffer(pool, size_max, untaken_size_max);
    std::uint64_t committed = 0;
    std::uint64_t acknowledged = 0;
    std::deque<View> taken;  // Not acknowledged.
    std::uint64_t taken_size = 0;
    const auto byte_at = [](std::uint64_t at) { return static_cast<std::byte>(at * 31 >> 3U); };
    for (int step = 0; step < 3000; ++step) {
      switch (random.below(3)) {
        case 0: {
          const auto space = buffer.space();
          const std::uint64_t untaken = committed - acknowledged - taken_size;
          REQUIRE(space.empty() == (committed - acknowledged == size_max ||
                                    untaken == std::min(untaken_size_max, size_max)));
          REQUIRE(committed - acknowledged + space.size() <= size_max);
          REQUIRE(untaken + space.size() <= untaken_size_max);
          const std::size_t size = space.empty() ? 0 : random.below(space.size() + 1);
          for (std::size_t i = 0; i < size; ++i) space[i] = byte_at(committed + i);
          buffer.commit(size);
          committed += size;
          break;
        }
        case 1: {
          std::vector<View> views(1 + random.below(8));
          const std::size_t count = buffer.take(views, 1 + random.below(200'000));
          for (std::size_t i = 0; i < count; ++i) {
            REQUIRE_FALSE(views[i].empty());
            taken.push_back(views[i]);
            taken_size += views[i].size();
          }
          break;
        }
        default: {
          std::uint64_t size = random.below(taken_size + 1);
          // What was taken is still there, byte for byte.
          std::uint64_t at = acknowledged;
          for (const View view : taken) {
            for (std::size_t i = 0; i < view.size(); i += 97) REQUIRE(view[i] == byte_at(at + i));
            at += view.size();
          }
          buffer.acknowledge(size);
          acknowledged += size;
          taken_size -= size;
          while (size > 0) {
            const std::size_t here = std::min<std::size_t>(size, taken.front().size());
            taken.front() = taken.front().subspan(here);
            size -= here;
            if (taken.front().empty()) taken.pop_front();
          }
        }
      }
      REQUIRE(buffer.size() == committed - acknowledged);
      REQUIRE(buffer.has_untaken() == (committed - acknowledged > taken_size));
    }
    buffer.drop();
    CHECK(buffer.size() == 0);
    CHECK_FALSE(buffer.has_untaken());
  }
}

TEST_CASE("a receive buffer returns what was appended") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    SeededRandom random(seed);
    ChunkPool pool;
    ReceiveBuffer buffer(pool);
    std::deque<std::byte> model;
    for (int step = 0; step < 1000; ++step) {
      if (random.below(2) == 0) {
        std::vector<std::byte> bytes(random.below(3000));
        random.fill(bytes);
        buffer.append(bytes);
        model.insert(model.end(), bytes.begin(), bytes.end());
      } else {
        const View front = buffer.front();
        REQUIRE(front.empty() == model.empty());
        REQUIRE(std::equal(front.begin(), front.end(), model.begin()));
        const std::size_t size = front.empty() ? 0 : random.below(front.size() + 1);
        buffer.consume(size);
        model.erase(model.begin(), model.begin() + std::ptrdiff_t(size));
      }
      REQUIRE(buffer.size() == model.size());
    }
    CHECK(buffer.drop() == model.size());
    CHECK(buffer.front().empty());
  }
}

TEST_CASE("a stream starts with small chunks and turns to large ones") {
  ChunkPool pool;
  SendBuffer buffer(pool, 1 << 20, 1 << 20);
  std::vector<std::size_t> sizes;
  for (int i = 0; i < 6; ++i) {
    const auto space = buffer.space();
    sizes.push_back(space.size());
    buffer.commit(space.size());
  }
  CHECK(sizes == std::vector<std::size_t>{4096, 4096, 4096, 4096, 65'536, 65'536});
}

}  // namespace
}  // namespace zt::quic
