// SPDX-License-Identifier: Apache-2.0
#pragma once
// path/hairpin.h: whether the NAT before a node turns back what is sent from inside to its outside
// address ("hairpinning", RFC 4787 section 6).
//
// Theory of operation
//   Two nodes behind one NAT that cannot reach each other inside it meet at its outside, if it
//   hairpins. A node finds out by sending a datagram to the address and port that relays and
//   controller see it at:
//
//     node ──► NAT    to the node's own mapped address
//     node ◄── NAT    it hairpins, if the same datagram comes in again
//
//   It leaves from the node's UDP port, and not from another one as in RFC 5780 section 3.4: so the
//   NAT's filter lets it in, as it does when both ends of a direct path have sent.
//
//   The datagram has the form of a ping (wire/probe.h), with a label and a tag that are random, so
//   that nobody else takes it for his. One that comes back is enough; `tries` that do not come back
//   say no. The test is made again when the address changes, and after `retest_interval`; until it
//   is over the last verdict stands.
//
// Limits   IPv4, to which the section applies. A NAT that maps by destination has no address to be
//          tried. Of NATs in a row, it is the outermost that is tried.
// Time     Deadlines are checked on every call.
// Threats  An observer that lies about what it sees chooses where the datagrams go: `tests` bounds
// them
//          to tries × 67 bytes each. Whoever sees one may send it back. The verdict is for people;
//          nothing depends on it.

#include <cstdint>
#include <optional>
#include <string_view>

#include "zt/base/bytes.h"
#include "zt/base/ip.h"
#include "zt/base/random.h"
#include "zt/base/time.h"
#include "zt/path/allowance.h"
#include "zt/path/nat_verdict.h"
#include "zt/wire/probe.h"

namespace zt::path {

enum class Hairpin : std::uint8_t {
  off,        // Not to be tested.
  unseen,     // No observer on another machine has told where it sees the node.
  no_nat,     // There is nothing to turn back.
  no_target,  // The NAT maps by destination.
  testing,
  works,
  fails,
};
[[nodiscard]] std::string_view to_text(Hairpin hairpin);  // "yes", "no", "not-needed", "unknown".
[[nodiscard]] std::string_view explain(Hairpin hairpin);  // A phrase for people.

class HairpinTest {
 public:
  struct Config {
    bool is_wanted = true;
    int tries = 3;                                        // Above zero.
    Duration interval = std::chrono::milliseconds(500);   // Between tries; the last waits as long.
    Duration retest_interval = std::chrono::minutes(10);  // From a verdict to the next test.
    Allowance::Rate tests = {.burst = 4, .period = std::chrono::seconds(30)};
  };
  struct Sending {
    SocketAddress target;
    wire::ProbeBytes bytes{};
  };

  // `random` outlives the object.
  HairpinTest(const Config& config, Random& random);

  // set_place says how observers see the node by IPv4. When none does, the last verdict is
  // forgotten: the next one that does may be beyond another NAT, even if the address is the same.
  void set_place(const FamilyVerdict& v4, const Now& now);
  // take returns whether the datagram is one of ours, and for nobody else.
  bool take(BytesView datagram, const Now& now);
  void handle_timeout(const Now& now);
  [[nodiscard]] std::optional<Sending> poll_sending();
  [[nodiscard]] std::optional<Instant> next_deadline() const { return due_; }

  [[nodiscard]] Hairpin verdict() const;

 private:
  void aim(const std::optional<SocketAddress>& target, const Now& now);
  void draw(const SocketAddress& target);
  void conclude(bool is_turned_back, const Now& now);

  Config config_;
  Random& random_;
  Allowance allowance_;
  NatMapping mapping_ = NatMapping::unseen;
  std::optional<SocketAddress> target_;
  std::optional<Sending> sending_;      // Of the last test.
  int tried_ = 0;                       // In the test that goes on; 0: none does.
  bool is_waiting_ = false;             // A try waits for poll_sending.
  std::optional<bool> is_turned_back_;  // The last verdict about the target.
  std::optional<Instant> due_;          // The next try, test or verdict.
};

}  // namespace zt::path
