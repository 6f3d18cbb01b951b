// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/datagram_frames.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <string>
#include <vector>

#include "zt/base/random.h"

namespace zt::wire {
namespace {

Bytes bytes_of(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) bytes.push_back(std::byte(value));
  return bytes;
}

// datagrams_of takes everything out of a copy of `stream`, and returns each datagram.
std::vector<Bytes> datagrams_of(Bytes stream) {
  std::vector<Bytes> datagrams;
  std::span<std::byte> rest(stream);
  while (true) {
    const auto train = take_train(rest);
    REQUIRE(train);
    if (train->consumed == 0) break;
    BytesView bytes = train->bytes;
    while (!bytes.empty()) {
      const auto segment = bytes.first(std::min(train->segment_size, bytes.size()));
      datagrams.emplace_back(segment.begin(), segment.end());
      bytes = bytes.subspan(segment.size());
    }
    rest = rest.subspan(train->consumed);
  }
  return datagrams;
}

TEST_CASE("a frame is the size of a datagram in network order, and the datagram") {
  Bytes out;
  REQUIRE(append_frames(out, bytes_of({1, 2, 3, 4, 5}), 2));
  CHECK(out == bytes_of({0, 2, 1, 2, 0, 2, 3, 4, 0, 1, 5}));
  CHECK(framed_size(5, 2) == out.size());
}

TEST_CASE("neighbours of one size are one train, which ends with the first shorter one") {
  Bytes stream = bytes_of({0, 2, 1, 2, 0, 2, 3, 4, 0, 1, 5, 0, 1, 6, 0, 2, 7, 8});
  std::span<std::byte> rest(stream);
  const auto first = take_train(rest);
  REQUIRE(first);
  CHECK(std::ranges::equal(first->bytes, bytes_of({1, 2, 3, 4, 5})));
  CHECK(first->segment_size == 2);
  rest = rest.subspan(first->consumed);
  const auto second = take_train(rest);
  REQUIRE(second);
  CHECK(std::ranges::equal(second->bytes, bytes_of({6})));
  rest = rest.subspan(second->consumed);
  const auto third = take_train(rest);
  REQUIRE(third);
  CHECK(std::ranges::equal(third->bytes, bytes_of({7, 8})));
  CHECK(third->consumed == rest.size());
}

TEST_CASE("a frame that is cut anywhere is not complete, and nothing is touched") {
  const Bytes whole = bytes_of({0, 3, 7, 8, 9});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    Bytes cut(whole.begin(), whole.begin() + std::ptrdiff_t(size));
    const auto train = take_train(cut);
    REQUIRE(train);
    CHECK(train->consumed == 0);
    CHECK(std::ranges::equal(cut, std::span(whole).first(size)));
  }
}

TEST_CASE("an empty datagram and one that is too large end the stream; the largest does not") {
  Bytes empty = bytes_of({0, 0, 0, 1, 5});
  CHECK(take_train(empty).error() == FrameError::empty);

  Bytes largest;
  REQUIRE(append_frames(largest, Bytes(kFramedSizeMax), kFramedSizeMax));
  const auto train = take_train(largest);
  REQUIRE(train);
  CHECK(train->bytes.size() == kFramedSizeMax);

  Bytes larger = bytes_of({(kFramedSizeMax + 1) >> 8, (kFramedSizeMax + 1) & 0xff});
  CHECK(take_train(larger).error() == FrameError::too_large);
  Bytes out;
  CHECK_FALSE(append_frames(out, Bytes(kFramedSizeMax + 1), kFramedSizeMax + 1));
  CHECK_FALSE(append_frames(out, {}, 0));
  CHECK(out.empty());
}

TEST_CASE("what stands before a frame without sense is still had") {
  Bytes stream = bytes_of({0, 1, 42, 0, 0});
  const auto train = take_train(stream);
  REQUIRE(train);
  CHECK(std::ranges::equal(train->bytes, bytes_of({42})));
  CHECK(take_train(std::span(stream).subspan(train->consumed)).error() == FrameError::empty);
}

TEST_CASE("a train is never longer than one send takes") {
  Bytes stream;
  for (int i = 0; i < 200; ++i) REQUIRE(append_frames(stream, Bytes(1000), 1000));
  const auto many = take_train(stream);
  REQUIRE(many);
  CHECK(many->bytes.size() == kTrainSegmentsMax * 1000);
  stream.clear();
  for (int i = 0; i < 20; ++i) REQUIRE(append_frames(stream, Bytes(9000), 9000));
  const auto large = take_train(stream);
  REQUIRE(large);
  CHECK(large->bytes.size() == 7 * 9000);
}

TEST_CASE("whatever is sent arrives, one by one and in order") {
  const auto seed = GENERATE(range(1U, 40U));
  INFO("seed " << seed);
  SeededRandom random(seed);
  std::vector<Bytes> sent;
  Bytes stream;
  for (int i = 0; i < 60; ++i) {
    const std::size_t segment_size = 1 + random.below(random.below(4) == 0 ? kFramedSizeMax : 40);
    Bytes train(1 + random.below(4 * segment_size));
    random.fill(train);
    REQUIRE(append_frames(stream, train, segment_size));
    for (std::size_t at = 0; at < train.size(); at += segment_size) {
      const auto end = std::min(train.size(), at + segment_size);
      sent.emplace_back(train.begin() + std::ptrdiff_t(at), train.begin() + std::ptrdiff_t(end));
    }
  }
  CHECK(datagrams_of(stream) == sent);
}

}  // namespace
}  // namespace zt::wire
