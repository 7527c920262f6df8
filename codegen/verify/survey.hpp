// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "decoder.hpp"

#include <map>
#include <set>
#include <vector>

namespace verify {

/// A direct call of a function, or a jump to it from another one.
struct caller {
    address at{};
    bool call{};
};

/// What one look at every instruction of every function finds.
struct survey {
    std::set<address> entries{};                      ///< VMRUN, VMLAUNCH and VMRESUME
    std::vector<address> stray_entries{};             ///< their opcodes in code that no symbol names
    std::vector<address> hidden_entries{};            ///< their opcodes inside an instruction into which a branch leads
    std::map<address, std::vector<caller>> callers{}; ///< by the first address of the called function
    bool vmx{};                                       ///< there is a VMLAUNCH or VMRESUME
};

[[nodiscard]] auto look_over(image const&, decoder&) -> survey;

} // namespace verify
