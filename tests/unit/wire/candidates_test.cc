// SPDX-License-Identifier: Apache-2.0
#include "zt/wire/candidates.h"

#include <catch2/catch_test_macros.hpp>
#include <string_view>

#include "zt/wire/cursor.h"

namespace zt::wire {
namespace {

Bytes from(std::string_view hex) {
  return from_hex(hex).value();
}

Candidate candidate(CandidateKind kind, std::string_view text) {
  return {kind, SocketAddress::parse(text).value()};
}

CandidateList list_of(std::size_t count) {
  CandidateList list{.generation = 1, .candidates = {}};
  for (std::size_t i = 0; i < count; ++i) {
    list.candidates.push_back(
        {CandidateKind::observed, {IpAddress::v6({0x20, 1, static_cast<std::uint8_t>(i)}), 443}});
  }
  return list;
}

TEST_CASE("candidates of both families and all kinds come back") {
  const CandidateList list{.generation = kVarintMax,
                           .candidates = {candidate(CandidateKind::host, "10.0.0.1:4000"),
                                          candidate(CandidateKind::observed, "[2001:db9::1]:1"),
                                          candidate(CandidateKind::configured, "11.0.0.1:65535")}};
  CHECK(parse_candidates(encode_candidates(list)) == list);
}

TEST_CASE("a list has the bytes that the header draws") {
  const CandidateList list{.generation = 1,
                           .candidates = {candidate(CandidateKind::host, "10.0.0.1:443")}};
  CHECK(to_hex(encode_candidates(list)) == "0101040a00000101bb");
}

TEST_CASE("an empty list is a list") {
  const CandidateList list{.generation = 9, .candidates = {}};
  CHECK(parse_candidates(encode_candidates(list)) == list);
}

TEST_CASE("a list ends at its limit") {
  const Bytes full = encode_candidates(list_of(kCandidatesMax));
  CHECK(parse_candidates(full).has_value());
  CHECK(full.size() <= kCandidatesValueSizeMax);
  Bytes over = full;
  const Bytes one = from("0104010203040001");
  over.insert(over.end(), one.begin(), one.end());
  CHECK_FALSE(parse_candidates(over).has_value());
}

TEST_CASE("what is no list is refused") {
  struct Row {
    const char* what;
    const char* hex;
  };
  constexpr Row kRows[] = {
      {"empty", ""},
      {"generation zero", "00"},
      {"truncated generation", "40"},
      {"kind zero", "010004010203040001"},
      {"kind four", "010404010203040001"},
      {"family five", "010105010203040001"},
      {"port zero", "010104010203040000"},
      {"no family", "0101"},
      {"truncated address", "010104010203"},
      {"truncated port", "01010401020304ff"},
      {"IPv4 bytes as IPv6", "010106010203040001"},
  };
  for (const Row& row : kRows) {
    CAPTURE(row.what);
    CHECK_FALSE(parse_candidates(from(row.hex)).has_value());
  }
}

}  // namespace
}  // namespace zt::wire
