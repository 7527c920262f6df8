// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "vmx_seat.hpp"

#include <cstdint>
#include <functional>
#include <string>

namespace hv::test {

/// Enters once; the program looks at what the processor works with.
inline void look(vmx_seat& seat, std::function<void(vmx_model::guest&)> const& see) {
    bool seen{};
    seat.model.next = [&](vmx_model::guest& g) {
        see(g);
        seen = true;
        g.exit(12);
    };
    recording_handler handler;
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seen);
}

/// Keeps the reason of a refused entry.
struct reason_handler {
    std::string reason{};
    auto on(exits::entry_failed const& exit) -> verdict {
        reason = exit.reason;
        return verdict::leave;
    }
    auto on(auto const&) -> verdict { return verdict::leave; }
};

} // namespace hv::test
