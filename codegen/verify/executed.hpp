// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "walk.hpp"

#include <string>

namespace verify {

/// What exit_trace saw between exits and entries.
struct executed {
    std::set<address> instructions{};
    std::set<address> routines{};
    std::uint64_t bytes{}; ///< of the instructions, each once
    std::uint64_t count{}; ///< of executions
    std::uint64_t exits{};
};

/// Reads a record of exit_trace. Adds a violation for each instruction that was executed and is not in the closure, or
/// is not what the file says, or came first behind an exit and is no root; and one if there was no exit.
[[nodiscard]] auto compare_with_executed(std::string const& path, image const&, decoder&, closure&) -> executed;

} // namespace verify
