// SPDX-License-Identifier: Apache-2.0
#include "zt/controller/store.h"

namespace zt::controller {

std::string_view to_text(StoreError error) {
  switch (error) {
    case StoreError::not_found:
      return "not found";
    case StoreError::conflict:
      return "already taken";
    case StoreError::stale:
      return "changed in the meantime";
    case StoreError::dangling:
      return "a reference would point at nothing";
    case StoreError::full:
      return "the disk is full";
    case StoreError::busy:
      return "another process uses the database";
    case StoreError::corrupt:
      return "the database is damaged, or not ours";
    case StoreError::unsupported_schema:
      return "the database was written by a later version";
    case StoreError::io_failure:
      return "the disk does not work";
  }
  return "unknown";
}

}  // namespace zt::controller
