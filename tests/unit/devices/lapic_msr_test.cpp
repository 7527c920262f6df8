// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <devices/lapic_board.hpp>

#include <map>
#include <optional>

using namespace hv;
using namespace hv::test;

namespace {

constexpr std::uint64_t off{0xfee00100};
constexpr std::uint64_t xapic_mode{0xfee00900};
constexpr std::uint64_t x2apic_mode{0xfee00d00};
constexpr std::uint64_t impossible{0xfee00500};

auto in_state(std::uint64_t base) -> lapic_board {
    lapic_board b{1};
    if (base == off)
        CHECK(b.set_base(off));
    if (base == x2apic_mode)
        CHECK(b.set_base(x2apic_mode));
    CHECK(b.apic.apic_base() == base);
    return b;
}

auto readable(lapic_board& b, std::uint32_t msr) -> std::optional<std::uint64_t> {
    std::uint64_t value{};
    if (b.apic.read_msr(b.context, msr, value))
        return value;
    return {};
}

/// Bits that may be set in a write of each writable x2APIC register; read-only status bits included.
std::map<std::uint32_t, std::uint64_t> const writable{
    {0x808, 0xff},       {0x80b, 0},       {0x80f, 0x3ff},
    {0x828, 0},          {0x82f, 0x117ff}, {0x830, 0xffffffff'000cdfff},
    {0x832, 0x710ff},    {0x833, 0x117ff}, {0x834, 0x117ff},
    {0x835, 0x1f7ff},    {0x836, 0x1f7ff}, {0x837, 0x110ff},
    {0x838, 0xffffffff}, {0x83e, 0xb},     {0x83f, 0xff}};

} // namespace

TEST_CASE("IA32_APIC_BASE moves between off, xAPIC and x2APIC as the manual's diagram says, and not otherwise") {
    std::uint64_t const states[]{off, xapic_mode, x2apic_mode};
    std::uint64_t const targets[]{off, xapic_mode, x2apic_mode, impossible};
    for (auto const from : states)
        for (auto const to : targets) {
            auto b = in_state(from);
            auto const legal = to == from or (from == off and to == xapic_mode) or
                               (from == xapic_mode and to != impossible) or (from == x2apic_mode and to == off);
            INFO(std::hex << from << " to " << to);
            CHECK(b.set_base(to) == legal);
            CHECK(b.read_msr(0x1b) == (legal ? to : from));
            CHECK(b.apic.enabled() == (b.apic.apic_base() != off));
            CHECK(b.apic.x2apic() == (b.apic.apic_base() == x2apic_mode));
        }
}

TEST_CASE("IA32_APIC_BASE: no reserved bit, the bootstrap-processor flag and no address bit can change") {
    for (auto const state : {off, xapic_mode, x2apic_mode})
        for (unsigned bit{}; bit < 64; ++bit) {
            if (bit == 10 or bit == 11)
                continue;
            auto b = in_state(state);
            CHECK_FALSE(b.set_base(state ^ 1ull << bit));
            CHECK(b.read_msr(0x1b) == state);
        }
}

TEST_CASE("switching the APIC off loses its state") {
    auto b = xapic(4);
    b.set(reg::task_priority, 0x20);
    b.set(reg::initial_count, 100);
    CHECK(b.accept(0x80) == lapic_request::interrupt);
    CHECK(b.set_base(off));
    CHECK(b.apic.pending_vector() == -1);
    CHECK(b.apic.deadline() == never);
    for (unsigned const size : {1u, 2u, 4u, 8u}) {
        auto const ones = size == 8 ? ~0ull : (1ull << size * 8) - 1;
        CHECK(b.apic.read_mmio(b.context, 0x20, size) == ones);
    }
    b.apic.write_mmio(b.context, 0x80, 4, 0x30);
    CHECK(b.set_base(xapic_mode));
    CHECK(b.get(reg::id) == 4u << 24);
    CHECK(b.get(reg::task_priority) == 0);
    CHECK(b.get(reg::spurious_interrupt_vector) == 0xff);
}

TEST_CASE("entering x2APIC mode keeps the interrupts, derives LDR and closes the memory page") {
    auto b = xapic(0x21);
    b.set(reg::task_priority, 0x30);
    b.set(reg::logical_destination, 0x80000000);
    b.set(reg::destination_format, 0);
    b.set(reg::interrupt_command_high, 0x12000000);
    CHECK(b.accept(0x80) == lapic_request::interrupt);
    CHECK(b.set_base(x2apic_mode));
    CHECK(b.get(reg::id) == 0x21);
    CHECK(b.get(reg::logical_destination) == 0x00020002);
    CHECK(b.get(reg::task_priority) == 0x30);
    CHECK(b.read_msr(0x830) == 0);
    CHECK(b.apic.pending_vector() == 0x80);
    CHECK(b.apic.read_mmio(b.context, 0x20, 4) == 0xffffffff);
    b.apic.write_mmio(b.context, 0x80, 4, 0);
    CHECK(b.get(reg::task_priority) == 0x30);
}

TEST_CASE("the mode can be set from outside") {
    lapic_board b{2};
    b.apic.set_x2apic(true);
    CHECK(b.apic.apic_base() == x2apic_mode);
    CHECK(b.get(reg::logical_destination) == 4);
    b.apic.set_x2apic(false);
    CHECK(b.apic.apic_base() == xapic_mode);
    CHECK(b.get(reg::id) == 2u << 24);
    CHECK(b.set_base(off));
    b.apic.set_x2apic(true);
    CHECK(b.apic.apic_base() == x2apic_mode);
}

TEST_CASE("CVE-2014-7188: the MSRs 800h to bffh give a value or #GP, in every mode") {
    for (auto const state : {off, xapic_mode, x2apic_mode})
        for (std::uint32_t msr{0x7f0}; msr < 0xc10; ++msr) {
            auto b = in_state(state);
            auto const n = msr - 0x800;
            auto const exists = msr >= 0x800 and state == x2apic_mode;
            auto const reads = exists and (n == 0x02 or n == 0x03 or n == 0x08 or n == 0x0a or n == 0x0d or n == 0x0f or
                                           (n >= 0x10 and n <= 0x28) or n == 0x2f or n == 0x30 or
                                           (n >= 0x32 and n <= 0x39) or n == 0x3e);
            auto const writes = exists and writable.contains(msr);
            INFO(std::hex << msr << " in " << state);
            CHECK(readable(b, msr).has_value() == reads);
            CHECK(b.write_msr(msr, 0) == writes);
        }
    auto b = x2apic();
    CHECK_FALSE(readable(b, 0xffffffff).has_value());
    CHECK_FALSE(readable(b, 0).has_value());
}

TEST_CASE("x2APIC writes with any reserved bit are #GP and change nothing") {
    for (auto const& [msr, bits] : writable)
        for (unsigned bit{}; bit < 64; ++bit) {
            auto b = x2apic(1);
            auto const before = b.image();
            auto const legal = (bits >> bit & 1) != 0;
            INFO(std::hex << msr << std::dec << " bit " << bit);
            CHECK(b.write_msr(msr, 1ull << bit) == legal);
            if (not legal)
                CHECK(same(before, b.image()));
        }
    auto b = x2apic();
    CHECK(b.write_msr(0x832, 0x20000)); // periodic
    CHECK(b.write_msr(0x832, 0x40000)); // TSC deadline
    CHECK_FALSE(b.write_msr(0x832, 0x60000));
}

TEST_CASE("x2APIC registers read back what was written, without status bits") {
    for (auto const& [msr, bits] : writable) {
        if (msr == 0x80b or msr == 0x828 or msr == 0x83f)
            continue;
        auto b = x2apic(1);
        b.enable();
        auto const value = msr == 0x832 ? bits & ~0x40000ull : bits;
        REQUIRE(b.write_msr(msr, value));
        auto expected = value & ~0x1000ull;
        if (msr == 0x835 or msr == 0x836)
            expected &= ~0x4000ull;
        if (msr == 0x80f or msr == 0x808 or msr == 0x838 or msr == 0x83e)
            expected = value;
        INFO(std::hex << msr);
        CHECK(b.read_msr(msr) == expected);
    }
}

TEST_CASE("IA32_TSC_DEADLINE reads 0 and ignores writes outside TSC-deadline mode") {
    for (auto b : {in_state(off), xapic(), x2apic()}) {
        CHECK(b.read_msr(0x6e0) == 0);
        CHECK(b.write_msr(0x6e0, 1000));
        CHECK(b.read_msr(0x6e0) == 0);
        CHECK(b.apic.deadline() == never);
    }
}

TEST_CASE("a write that is answered at once does what every other write does, and what is wrong is not answered") {
    for (auto const base : {off, xapic_mode, x2apic_mode})
        for (bool const software_enabled : {false, true})
            for (std::uint32_t msr{0x800}; msr != 0x900; ++msr)
                for (std::uint64_t const value : {0x0ull, 0xfull, 0x10ull, 0x62ull, 0xffull, 0x100ull, 1ull << 32}) {
                    auto quick = in_state(base), slow = in_state(base);
                    for (auto* const b : {&quick, &slow}) {
                        if (software_enabled and base != off)
                            b->enable();
                        static_cast<void>(b->accept(0x61, true));
                        if (b->apic.pending_vector() == 0x61)
                            b->take(0x61);
                        static_cast<void>(b->accept(0x51));
                    }
                    auto const before = quick.image();
                    bool const done{quick.apic.write_msr_at_once(quick.context, msr, value)};
                    bool const is_plain{base == x2apic_mode and ((msr == 0x80b and value == 0) or
                                                                 (msr == 0x83f and value >= 0x10 and value <= 0xff))};
                    INFO(std::hex << base << ' ' << software_enabled << ' ' << msr << ' ' << value);
                    CHECK(done == is_plain);
                    if (done)
                        CHECK(slow.write_msr(msr, value));
                    auto const now = quick.image(), wanted = done ? slow.image() : before;
                    CHECK(std::memcmp(&now, &wanted, sizeof now) == 0);
                    CHECK(quick.apic.pending_vector() == (done ? slow : quick).apic.pending_vector());
                    CHECK(quick.context.ended == (done ? slow.context.ended : std::vector<std::uint8_t>{}));
                }
}
