// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/emulate/cpu.hpp>
#include <hv/exit.hpp>

#include <array>
#include <cstdint>

namespace hv::detail {

/// The enabled data breakpoints, as bits of DR6, that an access to `size` bytes at a linear address meets. SDM Vol. 3B,
/// "Breakpoint Field Recognition".
template <emulation_cpu Cpu>
[[nodiscard, gnu::cold]] auto breakpoints_met(Cpu& cpu, std::uint64_t debug_control, gva linear, unsigned size,
                                              access wanted) -> std::uint8_t {
    constexpr unsigned on_write{1}, on_access{3};
    constexpr std::array<std::uint8_t, 4> lengths{1, 2, 8, 4};
    std::uint8_t met{0};
    for (unsigned n{0}; n != 4; ++n) {
        if ((debug_control >> 2 * n & 3) == 0)
            continue;
        auto const field = debug_control >> (16 + 4 * n);
        auto const kind = field & 3;
        auto const length = lengths[field >> 2 & 3];
        if (kind != on_access and (kind != on_write or not includes(wanted, access::write)))
            continue;
        auto const first = cpu.read_debug_register(n) & ~std::uint64_t{length - 1u};
        if (linear.value - first < length or first - linear.value < size)
            met |= static_cast<std::uint8_t>(1u << n);
    }
    return met;
}

} // namespace hv::detail
