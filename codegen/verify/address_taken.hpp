// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "decoder.hpp"

#include <set>

namespace verify {

/// First addresses of the functions that something other than a direct call or jump names: data, or an operand.
/// Callers of such a function may be unknown.
[[nodiscard]] auto functions_with_address_taken(image const&, decoder&) -> std::set<address>;

} // namespace verify
