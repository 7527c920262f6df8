// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <catch2/catch.hpp>

#include <devices/test_context.hpp>
#include <hv/devices/lapic.hpp>

#include <cstring>
#include <initializer_list>
#include <vector>

namespace hv::test {

using x86::apic::reg;

/// A local APIC as software reaches it; `get` and `set` go by memory or MSR, as its mode demands.
struct lapic_board {
    device_context context{};
    lapic apic{};

    explicit lapic_board(std::uint32_t id = 0, bool bsp = true) {
        context.id = id;
        apic.power_on(id, bsp);
    }

    [[nodiscard]] static auto offset(reg r) -> std::uint64_t { return std::uint64_t{static_cast<unsigned>(r)} << 4; }
    [[nodiscard]] static auto index(reg r) -> std::uint32_t { return 0x800 + static_cast<unsigned>(r); }

    auto read_msr(std::uint32_t msr) -> std::uint64_t {
        std::uint64_t value{};
        CHECK(apic.read_msr(context, msr, value));
        return value;
    }
    auto write_msr(std::uint32_t msr, std::uint64_t value) -> bool { return apic.write_msr(context, msr, value); }
    auto get(reg r) -> std::uint32_t {
        if (apic.x2apic())
            return static_cast<std::uint32_t>(read_msr(index(r)));
        return static_cast<std::uint32_t>(apic.read_mmio(context, offset(r), 4));
    }
    void set(reg r, std::uint32_t value) {
        if (apic.x2apic())
            CHECK(write_msr(index(r), value));
        else
            apic.write_mmio(context, offset(r), 4, value);
    }
    /// A whole command: destination as software means it, 8 or 32 bits.
    void command(std::uint32_t destination, std::uint32_t low) {
        if (apic.x2apic()) {
            CHECK(write_msr(0x830, std::uint64_t{destination} << 32 | low));
        } else {
            set(reg::interrupt_command_high, destination << 24);
            set(reg::interrupt_command, low);
        }
    }
    auto sent() -> std::vector<interrupt_message> {
        auto const all = context.sent;
        context.sent.clear();
        return all;
    }
    auto set_base(std::uint64_t value) -> bool { return write_msr(0x1b, value); }
    void enable() { set(reg::spurious_interrupt_vector, 0x1ff); }
    auto accept(std::uint8_t vector, bool level = false) -> lapic_request {
        return apic.accept(context, {.vector = vector, .level = level});
    }
    auto signal(local_source source) -> lapic_request { return apic.local_interrupt(context, source); }
    /// Takes the pending vector, which must be this one.
    void take(int vector) {
        REQUIRE(apic.pending_vector() == vector);
        apic.acknowledge(vector);
    }
    void end() { set(reg::end_of_interrupt, 0); }
    /// Errors since the last call, as software collects them.
    auto errors() -> std::uint32_t {
        set(reg::error_status, 0);
        return get(reg::error_status);
    }
    /// A register of ISR, TMR or IRR by the vectors it holds.
    auto vectors(reg first) -> std::vector<unsigned> {
        std::vector<unsigned> all;
        for (unsigned i{}; i < 8; ++i)
            for (unsigned b{}; b < 32; ++b)
                if ((get(static_cast<reg>(static_cast<unsigned>(first) + i)) >> b & 1) != 0)
                    all.push_back(i * 32 + b);
        return all;
    }
    auto image() -> hv_lapic_v1 { return apic.save(context); }
};

inline auto xapic(std::uint32_t id = 0) -> lapic_board {
    lapic_board b{id};
    b.enable();
    return b;
}
inline auto x2apic(std::uint32_t id = 0) -> lapic_board {
    lapic_board b{id};
    CHECK(b.set_base(b.apic.apic_base() | x86::apic::base::extended));
    b.enable();
    return b;
}

inline auto same(hv_lapic_v1 const& a, hv_lapic_v1 const& b) -> bool {
    return std::memcmp(&a.page, &b.page, sizeof a.page) == 0 and a.msr_apicbase == b.msr_apicbase and
           a.timer_target == b.timer_target and a.esr_pending == b.esr_pending;
}

} // namespace hv::test
