// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "rules.hpp"
#include "walk.hpp"

namespace verify {

/// Whether one processor runs one vCPU, as a name in the image says.
[[nodiscard]] auto is_serial(image const&, rules const&) -> bool;

/// Adds what a serial image may not hold to its closure: a violation for each name in the whole image that only
/// several processors need, and for each loop of the closure that waits with PAUSE for anything but a port.
void find_parallel_code(image const&, decoder&, rules const&, closure&);

} // namespace verify
