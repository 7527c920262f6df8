// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "svm_seat.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

namespace hv::test {

using vmcb = backends::svm::vmcb;

/// A member of the VMCB by the offset that the manual prints.
template <typename T>
auto at(vmcb const& block, std::size_t offset) -> T {
    T value;
    std::memcpy(&value, reinterpret_cast<std::byte const*>(&block) + offset, sizeof value);
    return value;
}

/// Enters once; the program looks at what the processor works with.
inline void look(svm_seat& seat, std::function<void(vmcb const&)> const& see) {
    bool seen{};
    seat.model.next = [&](svm_model::guest& g) {
        see(g.state);
        seen = true;
        g.exit(0x78);
    };
    recording_handler handler;
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seen);
}

} // namespace hv::test
