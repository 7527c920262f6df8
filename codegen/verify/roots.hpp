// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "walk.hpp"

#include <vector>

namespace verify {

/// How the running function was entered, which decides where its return leads.
enum class entered {
    by_call, ///< by a call that the walk followed: back behind that call
    before,  ///< before the walk began, by a caller of run: up to every caller in the image
    by_interrupt,
    by_request ///< --root: nobody asks what comes after
};

/// Where a walk begins: an instruction, and the function in whose frame it runs.
struct start {
    address at{};
    address frame{};
    entered how{};
};

/// Finds the roots of an image; notes them, and what is wrong with them, in the closure.
[[nodiscard]] auto find_roots(image const&, decoder&, survey const&, rules const&, wishes const&, closure&)
    -> std::vector<start>;

} // namespace verify
