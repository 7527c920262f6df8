// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "walk.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace verify {

/// The deepest stack of a closure, cuts not counted.
struct stack_use {
    std::optional<std::uint64_t> bytes{};     ///< none where a stack pointer cannot be followed
    std::string deepest{};                    ///< the function that needs it
    std::optional<std::uint64_t> interrupt{}; ///< what the deepest interrupt entry may add; none without entries
};

/// Follows the stack pointer through every function of a closure. Adds a violation for a return that does not find the
/// stack pointer where the call left it, and for a store to the return address; and one if the stack with an interrupt
/// on top may get deeper than `limit` bytes, unless that is 0.
[[nodiscard]] auto follow_stack(image const&, decoder&, rules const&, std::uint64_t limit, closure&) -> stack_use;

} // namespace verify
