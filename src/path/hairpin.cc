// SPDX-License-Identifier: Apache-2.0
#include "zt/path/hairpin.h"

#include <algorithm>
#include <utility>

namespace zt::path {

HairpinTest::HairpinTest(const Config& config, Random& random)
    : config_(config), random_(random), allowance_(config.tests, Instant{}) {}

void HairpinTest::set_place(const FamilyVerdict& v4, const Now& now) {
  if (!config_.is_wanted) return;
  mapping_ = v4.mapping;
  if (target_ != v4.mapped) aim(v4.mapped, now);
}

void HairpinTest::aim(const std::optional<SocketAddress>& target, const Now& now) {
  target_ = target;
  sending_.reset();
  tried_ = 0;
  is_waiting_ = false;
  is_turned_back_.reset();
  due_.reset();
  if (!target) return;
  due_ = now.instant;
  handle_timeout(now);
}

bool HairpinTest::take(BytesView datagram, const Now& now) {
  if (!sending_ || !std::ranges::equal(datagram, sending_->bytes)) return false;
  if (tried_ > 0) conclude(true, now);
  return true;
}

void HairpinTest::handle_timeout(const Now& now) {
  if (!target_ || !due_ || now.instant < *due_) return;
  if (tried_ == config_.tries) return conclude(false, now);
  if (tried_ == 0) {
    if (!allowance_.take(now.instant)) {
      due_ = allowance_.available_at(now.instant);
      return;
    }
    draw(*target_);
  }
  ++tried_;
  is_waiting_ = true;
  due_ = now.instant + config_.interval;
}

std::optional<HairpinTest::Sending> HairpinTest::poll_sending() {
  return std::exchange(is_waiting_, false) ? sending_ : std::nullopt;
}

Hairpin HairpinTest::verdict() const {
  if (!config_.is_wanted) return Hairpin::off;
  if (is_turned_back_) return *is_turned_back_ ? Hairpin::works : Hairpin::fails;
  if (target_) return Hairpin::testing;
  if (mapping_ == NatMapping::unseen) return Hairpin::unseen;
  return mapping_ == NatMapping::none ? Hairpin::no_nat : Hairpin::no_target;
}

void HairpinTest::draw(const SocketAddress& target) {
  wire::Probe ping{.label = {}, .transaction = 1, .nonce = {}, .observed = {}};
  random_.fill(ping.label.bytes);
  random_.fill(ping.nonce.bytes);
  const auto mac_of = [this](BytesView) {
    wire::ProbeMac nobodys;
    random_.fill(nobodys.bytes);
    return nobodys;
  };
  sending_ = {.target = target, .bytes = wire::seal_probe(ping, mac_of)};
}

void HairpinTest::conclude(bool is_turned_back, const Now& now) {
  is_turned_back_ = is_turned_back;
  tried_ = 0;
  is_waiting_ = false;
  due_ = now.instant + config_.retest_interval;
}

std::string_view to_text(Hairpin hairpin) {
  switch (hairpin) {
    case Hairpin::works:
      return "yes";
    case Hairpin::fails:
      return "no";
    case Hairpin::no_nat:
      return "not-needed";
    case Hairpin::off:
    case Hairpin::unseen:
    case Hairpin::no_target:
    case Hairpin::testing:
      return "unknown";
  }
  return "";
}

std::string_view explain(Hairpin hairpin) {
  switch (hairpin) {
    case Hairpin::off:
      return "not tried: UDP to peers is off";
    case Hairpin::unseen:
      return "unknown: no relay on another machine, nor the controller, tells where it sees this "
             "one";
    case Hairpin::no_nat:
      return "not needed: there is no NAT";
    case Hairpin::no_target:
      return "unknown: the NAT gives each destination another address or port, so there is none to "
             "try";
    case Hairpin::testing:
      return "being tried";
    case Hairpin::works:
      return "yes: what is sent to the NAT's outside address comes back in, so peers behind it can "
             "meet there";
    case Hairpin::fails:
      return "no: what is sent to the NAT's outside address does not come back; peers behind it "
             "meet inside, or at a relay";
  }
  return "";
}

}  // namespace zt::path
