// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "decoder.hpp"
#include "rules.hpp"
#include "survey.hpp"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace verify {

/// Something that must not be, and how the hot path comes to it.
struct violation {
    std::string what{};
    std::optional<address> at{};
    std::string text{};               ///< of the instruction
    std::vector<std::string> chain{}; ///< function names from the root
};

/// Where the hot path begins.
struct root {
    address at{};
    std::string why{};
};

/// A cut and the calls that were not followed because of it.
struct used_cut {
    rule line{};
    std::set<address> calls{};
    bool exists{}; ///< some name in the file matches
};

/// One place where a routine calls or jumps to another.
struct edge {
    address at{};
    bool call{};
};

/// Everything that control can reach between an exit and the next entry.
struct closure {
    std::vector<root> roots{};
    std::set<address> instructions{};
    std::set<address> entries{};       ///< VMRUN, VMLAUNCH and VMRESUME
    std::set<address> continuations{}; ///< where an exit continues: behind a VMRUN, or where HOST_RIP points
    std::set<address> leaves{};        ///< functions whose return ended a path
    std::set<address> leave_returns{}; ///< the returns that do
    std::set<address> called{};        ///< where frames begin with an intact return address
    std::set<address> interrupt_entries{};
    std::set<address> never_return{};                   ///< called, and no return found
    std::map<address, std::map<address, edge>> edges{}; ///< between routines, by their first addresses
    std::vector<used_cut> cuts{};
    std::vector<violation> violations{};
};

/// What to verify beyond what the image shows by itself.
struct wishes {
    std::vector<std::string> extra_roots{};
    bool needs_interrupt_entries{};
    bool serial{}; ///< no other processor runs, so that nothing needs to be atomic
};

/// Finds the roots of an image and follows every direct call, jump and return from them.
[[nodiscard]] auto walk(image const&, decoder&, survey const&, rules const&, std::vector<rule> const& cuts,
                        wishes const&) -> closure;

} // namespace verify
