// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/node_api.h: what connectors, relays and clients ask of the controller.
//
// Theory of operation
//   Enrolment turns a token's secret and the certificate of the connection into a connector or a
//   relay; a sign-in turns a service account's key and the certificate into a device. From then on
//   the certificate is the identity. Asking again with the same certificate and the same secret
//   gives the same node, so that an answer that got lost costs nothing.
//
//   A grant is judged by policy::evaluate on the current directory, at this moment, for exactly the
//   host, port and protocol that were asked for, and lives until the earliest of: the configured
//   lifetime, the end of the rule, the end of the device's key. It is in the store before it is
//   anywhere else, so that it can always be revoked.
//
//   A device is told of a denial what its subject may know (policy/explain.h); the audit has the
//   whole of it. What a client's own view refused it reports as an event, which is completed here.
//
//   Connectors are listed those first that watch (or were heard of within silence_max), then the
//   least loaded; among equals each device sees its own order, so that the load spreads.
//
// Limits   Of Limits: grants_per_minute_max a device, refusals_per_minute_max an address,
//          live_grants_per_tenant_max, events_per_request_max.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controller/access.h"
#include "controller/answer.h"
#include "controller/rate_limiter.h"
#include "wire/json.h"
#include "zt/base/random.h"

namespace zt::controller {

// Parts of the engine that both APIs use.
struct ApiContext {
  Store& store;
  Random& random;
  const Config& config;
  Access& access;
  WatchHub& hub;
  Outbox& outbox;
  RateLimiter& refusals;  // By address.
};

// source_name names an address for the limit of refusals: an IPv6 neighbourhood (/64) is one.
[[nodiscard]] std::string source_name(const http::Peer& peer);

class NodeApi {
 public:
  explicit NodeApi(const ApiContext& context)
      : context_(context),
        grants_(context.config.limits.grants_per_minute_max,
                context.config.limits.rate_buckets_max),
        explanations_(context.config.limits.grants_per_minute_max,
                      context.config.limits.rate_buckets_max) {}

  [[nodiscard]] Outcome enrol(const Call& call);
  [[nodiscard]] Outcome sign_in(const Call& call);
  [[nodiscard]] Outcome heartbeat(const Call& call);
  [[nodiscard]] Outcome events(const Call& call);
  [[nodiscard]] Outcome grant(const Call& call);

  // watch begins a stream, which answers the exchange by itself, or returns why not.
  [[nodiscard]] Attempt<void> watch(const Call& call);

  // forget_silent forgets the liveness of nodes that have long been silent.
  void forget_silent(const Now& now);

  // is_online tells whether the node watches or was heard of lately.
  [[nodiscard]] bool is_online(std::string_view node, const Now& now) const;

 private:
  // BoundRelay is where a connector is bound.
  struct BoundRelay {
    RelayId id;
    std::optional<std::int64_t> round_trip_ms;  // If the connector has told it.
  };

  // Liveness is what a node said in its latest heartbeat.
  struct Liveness {
    Instant heard;
    std::optional<Instant> noted;  // When the store was told.
    std::int64_t flow_count = 0;
    std::vector<BoundRelay> relays;
    bool is_draining = false;  // It will end soon: nobody new is sent there.
  };

  // Caller is an authenticated node.
  struct Caller {
    TenantId tenant;
    NodeRow row;
    const TenantState& state;
  };

  // GrantRequest is a device that asks, and what for.
  struct GrantRequest {
    const Device& device;
    policy::Request policy;
  };

  [[nodiscard]] bool is_draining(std::string_view node) const;
  [[nodiscard]] Attempt<Caller> authenticate(const Call& call);
  [[nodiscard]] static Attempt<Digest> require_certificate(const Call& call);
  [[nodiscard]] http::Problem refuse(const Call& call, int status, std::string detail);

  struct EnrolRequest {
    Secret secret;
    NodeKind kind = NodeKind::connector;
    std::string name;
    std::string region;
    std::string address;
    std::string software;
  };
  [[nodiscard]] static Attempt<EnrolRequest> parse_enrol(const Call& call);
  [[nodiscard]] Attempt<EnrolmentTokenRow> usable_token(const Call& call,
                                                        const Owned<EnrolmentTokenRow>& token,
                                                        NodeKind kind);
  [[nodiscard]] Outcome enrol_new(const Call& call, const Owned<EnrolmentTokenRow>& token,
                                  const EnrolRequest& request, const Digest& certificate);
  [[nodiscard]] Attempt<NodeRow> insert_node(const Call& call,
                                             const Owned<EnrolmentTokenRow>& token,
                                             const EnrolRequest& request,
                                             const Digest& certificate);
  [[nodiscard]] Outcome admitted(const Call& call, const TenantId& tenant, const NodeRow& row);

  struct SignInRequest {
    KeyId key;
    Secret secret;
    std::string device_name;
    std::string device_os;
    std::string software;
  };
  [[nodiscard]] static Attempt<SignInRequest> parse_sign_in(const Call& call);
  [[nodiscard]] Attempt<Owned<ServiceAccountKey>> usable_key(const Call& call,
                                                             const SignInRequest& request);
  [[nodiscard]] Attempt<Device> put_device(const Call& call, const Owned<ServiceAccountKey>& key,
                                           const SignInRequest& request, const Digest& certificate);

  void explain_refusal(const Caller& caller, FlowEvent& event, const Now& now);
  void hear(const Caller& caller, const std::string& software, const Now& now);

  [[nodiscard]] static Attempt<policy::Request> parse_grant(const Call& call,
                                                            const SubjectId& subject);
  [[nodiscard]] Outcome deny(const Call& call, const Caller& caller, const GrantRequest& request,
                             const policy::Decision& decision);
  [[nodiscard]] Outcome issue(const Call& call, const Caller& caller, const GrantRequest& request,
                              const policy::Decision& decision);
  struct Candidate {
    const Connector* connector = nullptr;
    bool is_online = false;
    std::int64_t flow_count = 0;
    std::uint64_t shuffle = 0;
    std::vector<BoundRelay> relays;
  };
  [[nodiscard]] UnixTime expiry_of(const Call& call, const Caller& caller,
                                   const GrantRequest& request,
                                   const policy::Decision& decision) const;
  [[nodiscard]] static wire::Json grant_json(const IssuedGrant& row,
                                             const policy::Resource& resource,
                                             const std::vector<Candidate>& connectors);
  [[nodiscard]] std::vector<Candidate> candidates(const Caller& caller, const NetworkId& network,
                                                  const DeviceId& device, const Now& now) const;

  ApiContext context_;
  RateLimiter grants_;                                     // By device.
  RateLimiter explanations_;                               // By device.
  std::map<std::string, Liveness, std::less<>> liveness_;  // By node id.
};

}  // namespace zt::controller
