// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <kernel_glue/bare/fpu.hpp>

#include <cstddef>

using namespace hv;

namespace {

constexpr std::size_t states{512}; // XSTATE_BV, the first of the header

/// As XSAVE leaves it behind FNINIT: all states are there, and MXCSR and XMM0 are a guest's.
auto saved() -> bare::fpu_area {
    bare::fpu_area area{.is_filled = true};
    area.bytes[0] = std::byte{0x7f};
    area.bytes[1] = std::byte{0x03};
    area.bytes[24] = std::byte{0x80};
    area.bytes[25] = std::byte{0x1f};
    area.bytes[160] = std::byte{0x5a};
    area.bytes[states] = std::byte{7};
    return area;
}

} // namespace

TEST_CASE("x87 registers as after FNINIT are initialised, not loaded, and the other states are loaded") {
    auto area = saved();
    bare::leave_out_initial_x87(area);
    CHECK(area.bytes[states] == std::byte{6});
    CHECK(area.bytes[160] == std::byte{0x5a});
}

TEST_CASE("x87 registers that differ in any byte from those after FNINIT are loaded") {
    for (std::size_t at{0}; at != 160; ++at) {
        if (at >= 24 and at < 32) // MXCSR and its mask
            continue;
        auto area = saved();
        area.bytes[at] ^= std::byte{0x40};
        auto const before = area.bytes;
        bare::leave_out_initial_x87(area);
        CAPTURE(at);
        CHECK(area.bytes == before);
    }
}
