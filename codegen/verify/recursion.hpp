// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "walk.hpp"

namespace verify {

/// Adds a violation for each cycle of calls in a closure. A cycle of jumps alone is a loop.
void find_recursion(image const&, decoder&, closure&);

} // namespace verify
