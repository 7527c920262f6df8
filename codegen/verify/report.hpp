// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "executed.hpp"
#include "exits.hpp"
#include "stack.hpp"

#include <iosfwd>

namespace verify {

/// Everything that a run found out.
struct findings {
    std::string path{};
    image const& file;
    decoder& decode;
    closure const& hot;
    stack_use stack{};
    std::map<std::string, std::set<exit_service>> served{};
    executed ran{};
    bool serial{};
};

/// For people. Violations come first where there are some.
void print_text(std::ostream&, findings const&);

/// For tools: the same, and the address ranges of the verified instructions.
void print_json(std::ostream&, findings const&);

} // namespace verify
