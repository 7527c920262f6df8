// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "rules.hpp"
#include "walk.hpp"

#include <map>
#include <set>
#include <string>

namespace verify {

/// The function that serves an exit, and the routine in whose code it lies; the same where it was not inlined.
struct exit_service {
    std::string function{};
    std::string routine{};

    auto operator<=>(exit_service const&) const = default;
};

/// The services of each kind of exit: what takes an `hv::exits::KIND` and an exit_handler rule names, found by symbols
/// and by debug information. Adds a violation for a kind whose services all lie outside the closure.
[[nodiscard]] auto find_exit_services(image const&, rules const&, closure&)
    -> std::map<std::string, std::set<exit_service>>;

} // namespace verify
