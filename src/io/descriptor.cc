// SPDX-License-Identifier: Apache-2.0
#include "io/descriptor.h"

#include <unistd.h>

namespace zt::io {

void Descriptor::close() noexcept {
  if (number_ < 0) return;
  (void)::close(number_);  // Linux frees the number in every case, EINTR included.
  number_ = -1;
}

}  // namespace zt::io
