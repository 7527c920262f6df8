// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <catch2/catch.hpp>

#include <devices/test_context.hpp>
#include <hv/devices/pic_8259.hpp>

#include <array>
#include <cstring>

namespace hv::test {

/// A pair of 8259s as software reaches it.
struct pic_board {
    device_context context{};
    pic_8259 pic{};

    void out(std::uint16_t port, unsigned value) { pic.write_port(context, port, 1, value); }
    auto in(std::uint16_t port) -> unsigned { return pic.read_port(context, port, 1); }
    auto raise(unsigned line) -> status { return pic.raise(context, line); }
    auto lower(unsigned line) -> status { return pic.lower(context, line); }
    auto pulse(unsigned line) -> status { return pic.pulse(context, line); }
    auto acknowledge() -> unsigned { return pic.acknowledge(context); }
    auto requested() -> bool {
        CHECK(context.interrupt_request == pic.interrupt_requested());
        return pic.interrupt_requested();
    }
    void initialize(unsigned master_icw4 = 1, unsigned slave_icw4 = 1) {
        for (auto const [port, base, cascade, icw4] :
             {std::array{0x20u, 0x20u, 4u, master_icw4}, std::array{0xa0u, 0x28u, 2u, slave_icw4}}) {
            auto const p = static_cast<std::uint16_t>(port);
            auto const q = static_cast<std::uint16_t>(port + 1);
            out(p, 0x11);
            out(q, base);
            out(q, cascade);
            out(q, icw4);
            out(q, 0);
        }
    }
    auto master_irr() -> unsigned { return out(0x20, 0x0a), in(0x20); }
    auto master_isr() -> unsigned { return out(0x20, 0x0b), in(0x20); }
    auto slave_irr() -> unsigned { return out(0xa0, 0x0a), in(0xa0); }
    auto slave_isr() -> unsigned { return out(0xa0, 0x0b), in(0xa0); }
};

/// After the initialisation that every PC does: vectors 20h and 28h.
inline auto ready_pic() -> pic_board {
    pic_board b;
    b.initialize();
    return b;
}

inline auto same(hv_pic_v1 const& a, hv_pic_v1 const& b) -> bool {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

} // namespace hv::test
