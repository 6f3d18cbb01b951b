// SPDX-License-Identifier: Apache-2.0
#pragma once
// controller/initialise.h: what a controller makes once, at its first start.
//
// Theory of operation
//   A first start makes, in one transaction: the certificate authority of the installation and the
//   HTTPS identity that it issues; one tenant with its first signing key; one API key, whose only
//   copy is returned, for the caller to write into a file that only the owner reads. There is no
//   password anywhere, and nothing that is the same on two installations. Later starts read the
//   HTTPS identity, and renew its certificate when it is old or when the hosts have changed; the
//   key, and with it the pin in every token, stays.

#include <optional>
#include <string>
#include <vector>

#include "crypto/identity.h"
#include "zt/base/host.h"
#include "zt/base/random.h"
#include "zt/base/secret.h"
#include "zt/controller/store.h"

namespace zt::controller {

struct InitialiseOptions {
  std::vector<Host> hosts;  // Under which nodes and browsers reach the controller; 1 or more.
  std::string tenant_name = "default";
  std::string api_key_name = "first";
};

struct Initialised {
  crypto::Identity https;             // To answer HTTPS with; nodes pin https.public_key_digest().
  std::string authority_certificate;  // PEM, for curl --cacert and browsers.
  TenantId tenant;                    // The first tenant.
  std::optional<Secret> api_key;      // At the first start only.
};

// initialise makes what is missing, and returns what the installation has. It fails with what the
// store says, and with `corrupt` if the kept identity cannot be read.
[[nodiscard]] StoreResult<Initialised> initialise(Store& store, const InitialiseOptions& options,
                                                  Random& random, UnixTime now);

}  // namespace zt::controller
