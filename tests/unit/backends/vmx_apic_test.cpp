// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "vmx_apic_player.hpp"

#include <array>
#include <random>

/// The same guest twice on the modelled processor: once the device alone plays the local APIC, once the processor runs
/// it. What the guest sees must be the same.
using namespace hv;
using namespace hv::test::apic;

namespace {

struct of_two : virtualised {
    static constexpr unsigned max_vcpus{2};
};

constexpr std::uint32_t svr{0xf0}, tpr{0x80}, eoi{0xb0}, icr{0x300};
constexpr act sti{act::kind::flags, 0, 0x200}, cli{act::kind::flags, 0, 0};

} // namespace

TEST_CASE("every vector is delivered and ended alike, edge- and level-triggered, whoever plays the APIC") {
    pair both;
    both.store(svr, 0x1ff);
    for (unsigned vector{16}; vector < 256; ++vector)
        for (bool const level : {false, true}) {
            both.play({act::kind::message, vector, level});
            both.play(sti);
            REQUIRE(both.on.model.delivered.size() == 1);
            REQUIRE(both.on.model.delivered[0].vector() == vector);
            auto const exits = both.on.machine->cpu(0).stats().exits[hv::exits::number_of<exits::end_of_interrupt>];
            both.store(eoi, 0);
            CHECK(both.on.machine->cpu(0).stats().exits[hv::exits::number_of<exits::end_of_interrupt>] ==
                  exits + (level ? 1u : 0u));
        }
    CHECK(both.on.machine->cpu(0).stats().events_injected == 0);
}

TEST_CASE("a level-triggered pin interrupts again behind each EOI while it is asserted, and an edge does not exit") {
    pair both;
    both.store(svr, 0x1ff);
    both.level_pin(17, 0x61);
    both.play({act::kind::raise, 17});
    for (unsigned i{0}; i < 3; ++i) {
        both.play(sti);
        CHECK(both.on.model.delivered.size() == 1);
        both.store(eoi, 0);
    }
    both.play({act::kind::lower, 17});
    both.play(sti);
    both.store(eoi, 0);
    both.play(sti);
    CHECK(both.on.model.delivered.empty());
}

TEST_CASE("TPR, EOI and self IPI of a guest need no exit, in either mode") {
    for (bool const in_x2apic : {false, true}) {
        player<virtualised> on;
        on.play({act::kind::store, svr, 0x1ff});
        if (in_x2apic)
            on.play({act::kind::wrmsr, 0x1b, 0xfee0'0d00});
        auto const& stats = on.machine->cpu(0).stats();
        auto const write = [&](std::uint32_t offset, std::uint32_t value) {
            auto const before = stats.total_exits();
            if (in_x2apic)
                on.play({act::kind::wrmsr, 0x800 + offset / 16, value});
            else
                on.play({act::kind::store, offset, value});
            CHECK(stats.total_exits() == before + 1); // the PAUSE
        };
        write(tpr, 0x50);
        in_x2apic ? write(0x3f0, 0x61) : write(icr, 0x4'0061);
        auto const before = stats.total_exits();
        CHECK(on.play(sti).delivered.size() == 1);
        CHECK(stats.total_exits() == before + 1);
        write(eoi, 0);
    }
}

TEST_CASE("lost or doubled interrupts there are none: random guests see the same, whoever plays the APIC") {
    constexpr std::array<std::uint32_t, 28> offsets{
        0x20,  0x30,  0x80,  0x90,  0xa0,  0xb0,  0xc0,  0xd0,  0xe0,  0xf0,  0x100, 0x130, 0x170, 0x180,
        0x1f0, 0x200, 0x250, 0x270, 0x280, 0x2f0, 0x300, 0x310, 0x320, 0x350, 0x370, 0x380, 0x390, 0x3e0};
    for (unsigned seed{1}; seed <= 120; ++seed) {
        CAPTURE(seed);
        std::mt19937 random{seed};
        auto const below = [&random](unsigned n) { return static_cast<std::uint32_t>(random() % n); };
        pair both;
        both.store(svr, 0x1ff);
        both.level_pin(17, 0x61);
        both.level_pin(18, 0xb2);
        std::array<bool, 2> asserted{};
        auto saved = both.off.apic();
        for (unsigned step{0}; step < 600; ++step) {
            auto const base = both.off.apic().msr_apicbase;
            bool const enabled{(base & 0x800) != 0}, in_x2apic{(base & 0x400) != 0};
            auto const vector = static_cast<std::uint8_t>(below(256));
            auto const write = [&](std::uint32_t offset, std::uint64_t value) {
                if (in_x2apic)
                    both.play({act::kind::wrmsr, 0x800 + offset / 16, value});
                else
                    both.store(offset, static_cast<std::uint32_t>(value));
            };
            switch (below(24)) {
            case 0:
            case 1:
            case 2:
                both.play({act::kind::flags, 0, 0x200, below(4) == 0});
                break;
            case 3:
                both.play(cli);
                break;
            case 4:
            case 5:
            case 6:
                both.play({act::kind::message, 16u + below(240), below(4) == 0});
                break;
            case 7:
            case 8:
            case 9:
            case 10:
                write(eoi, 0);
                break;
            case 11:
                write(tpr, below(256));
                break;
            case 12: {
                // Without the processor's help nobody sees that MOV to CR8 cleared the lower half of TPR alone.
                auto const now = both.off.apic().page.tpr;
                auto const priority = below(16);
                if (priority != now >> 4 or (now & 0xf) == 0)
                    both.play({act::kind::cr8, 0, priority});
                break;
            }
            case 13:
            case 14:
                // The processor does not clear TMR: see docs/decisions/0020-the-apic-is-lent-to-the-processor.md.
                if (both.is_level(vector))
                    break;
                if (in_x2apic)
                    both.play({act::kind::wrmsr, 0x83f, vector});
                else
                    both.store(icr, 0x4'0000u | (below(2) << 14) | vector);
                break;
            case 15: // fixed, to anybody: in x2APIC mode to id 0
                if (auto const command = random() & 0xc'88ffu; (command >> 18 & 3) != 1 or not both.is_level(vector))
                    write(icr, (command & ~0xffu) | vector);
                break;
            case 16: {
                auto const pin = below(2);
                both.play({asserted[pin] ? act::kind::lower : act::kind::raise, 17 + pin});
                asserted[pin] = not asserted[pin];
                break;
            }
            case 17:
                write(0x320, 0x2'0000u * below(2) | (below(4) == 0 ? 0x1'0000u : 0u) | (32 + below(200)));
                break;
            case 18:
                write(0x380, below(100'000));
                break;
            case 19:
                both.play({act::kind::time, 0, below(2'000'000)});
                break;
            case 20:
                write(svr, below(3) == 0 ? 0xffu : 0x1ffu);
                break;
            case 21:
                if (below(4) == 0)
                    both.play({act::kind::wrmsr, 0x1b,
                               0xfee0'0100ull | (below(3) == 0 ? 0u : 0x800u) | (below(2) == 0 ? 0u : 0x400u)});
                break;
            case 22:
                if (below(8) == 0)
                    both.restore(saved);
                else if (below(8) == 0)
                    saved = both.off.apic();
                break;
            default:
                if (below(2) == 0 or not enabled)
                    both.play({act::kind::load, offsets[below(28)]});
                else
                    both.play({act::kind::rdmsr, 0x800 + below(64)});
                break;
            }
        }
    }
}

TEST_CASE("in x2APIC mode every MSR of the range is answered, refused or exits as the device wants it") {
    pair both;
    both.store(svr, 0x1ff);
    both.play({act::kind::message, 0x45});
    both.play({act::kind::message, 0xf3, 1});
    both.play({act::kind::wrmsr, 0x1b, 0xfee0'0d00});
    for (std::uint32_t index{0x800}; index < 0x900; ++index)
        both.play({act::kind::rdmsr, index});
    for (std::uint32_t index{0x800}; index < 0x900; ++index)
        for (std::uint64_t const value : {0ull, 1ull, 0x100ull, 0x1'0000'0000ull})
            if (index != 0x830)
                both.play({act::kind::wrmsr, index, value});
}

TEST_CASE("CVE-2016-4440: no MSR of the APIC stays open when the guest leaves x2APIC mode") {
    pair both;
    auto const sweep = [&both] {
        for (std::uint32_t index{0x800}; index < 0x840; ++index) {
            both.play({act::kind::rdmsr, index});
            both.play({act::kind::wrmsr, index, 0x40});
        }
    };
    sweep();
    both.store(svr, 0x1ff);
    sweep();
    both.play({act::kind::wrmsr, 0x1b, 0xfee0'0d00});
    sweep();
    both.play({act::kind::wrmsr, 0x80f, 0xff});
    sweep();
    both.play({act::kind::wrmsr, 0x1b, 0xfee0'0100});
    sweep();
    both.play({act::kind::wrmsr, 0x1b, 0xfee0'0900});
    both.store(svr, 0x1ff);
    sweep();
}

TEST_CASE("the page at the APIC's address is there only while every vCPU of a machine runs as xAPIC") {
    player<of_two> two;
    two.machine->cpu(1).set_activity(vcpu_activity::running);
    auto const windowed = [&two] { return two.machine->memory().is_mapped(gpa{0xfee0'0000}); };
    auto const load = [&two](unsigned seat, std::uint32_t offset) {
        two.seat = seat;
        return two.play({act::kind::load, offset}).value;
    };
    two.play({act::kind::store, svr, 0x1ff});
    two.play({act::kind::store, tpr, 0x30});
    CHECK_FALSE(windowed()); // the other one's is software-disabled
    CHECK(load(0, tpr) == 0x30);
    CHECK(load(1, tpr) == 0);
    two.play({act::kind::store, svr, 0x1ff});
    CHECK(load(1, svr) == 0x1ff);
    CHECK(windowed());
    CHECK(load(0, tpr) == 0x30);
    auto const& stats = two.machine->cpu(0).stats();
    auto const exits = stats.total_exits();
    CHECK(load(0, tpr) == 0x30);
    CHECK(stats.total_exits() == exits + 1); // the PAUSE
    two.play({act::kind::wrmsr, 0x1b, 0xfee0'0d00});
    CHECK_FALSE(windowed());
    CHECK(load(0, tpr) == 0xffff'ffff);
    CHECK(load(1, svr) == 0x1ff);
    CHECK(two.machine->reason().kind == stop_kind::none);
}
