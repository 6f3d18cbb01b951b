// SPDX-License-Identifier: Apache-2.0
#include "controller/api_key.h"

#include <string>

#include "zt/grant/bootstrap.h"

namespace zt::controller {

namespace {

constexpr std::string_view kPrefix = "zta_";

}  // namespace

Secret make_api_key(Random& random) {
  const Secret secret = grant::make_shared_secret(random);
  return Secret(std::string(kPrefix) + std::string(secret.reveal()));
}

bool is_api_key(std::string_view text) {
  return text.starts_with(kPrefix) && grant::is_shared_secret(text.substr(kPrefix.size()));
}

}  // namespace zt::controller
