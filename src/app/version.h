// SPDX-License-Identifier: Apache-2.0
#pragma once
// app/version.h: what this program is made of, for `zt --version` and for logs.

#include <string_view>

namespace zt::app {

// version is the release, as in "0.1.0".
std::string_view version();

// commit is the source's git commit, ended by "-dirty" if the tree was changed, or "unknown".
std::string_view commit();

// libraries has a line "  name version\n" for each library that is linked in.
std::string_view libraries();

}  // namespace zt::app
