// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "flat_memory.hpp"

#include <hv/memory/code_page.hpp>

#include <array>
#include <random>

using hv::gpa;
using hv::gva;

namespace {

constexpr std::uint64_t linear{0xffff'8123'4567'8000};
constexpr std::uint64_t code{0x20'0000}; // in memory, of 2 MiB alignment
constexpr unsigned user_writable_present{7};

struct guest {
    flat_memory memory{0x40'0000};
    hv::paging_state state{.cr0 = hv::x86::cr0::pg | hv::x86::cr0::pe,
                           .cr3 = 0x1000,
                           .cr4 = hv::x86::cr4::pae,
                           .efer = hv::x86::efer::lme | hv::x86::efer::lma | hv::x86::efer::nxe};
    unsigned leaf;
    hv::code_page page{};

    explicit guest(unsigned leaf_level) : leaf{leaf_level} {
        for (unsigned level{4}; level >= leaf; --level)
            memory.put<std::uint64_t>(where(level), (level == leaf ? code : table(level - 1)) | user_writable_present |
                                                        (level == leaf and level > 1 ? 0x80u : 0u));
    }
    static auto table(unsigned level) -> std::uint64_t { return 0x1000 * (5 - level); }
    static auto where(unsigned level) -> std::uint64_t {
        return table(level) + (linear >> (12 + 9 * (level - 1)) & 511) * 8;
    }
    /// Control registers and EFER as one number that no single change leaves as it is.
    auto registers() const -> hv::fetch_state {
        return {state.cr3, state.cr0 + 3 * state.cr4 + 5 * state.efer, state.cpl};
    }
    auto find(std::uint64_t address) { return page.find(registers(), gva{address}); }
    auto walk(std::uint64_t address) { return page.walk(memory, registers(), state, gva{address}); }
    auto target(std::uint64_t address) -> std::byte const* {
        auto const at = hv::peek(memory, state, gva{address}, hv::access::execute);
        return at.ok ? memory.at(at.address, hv::access::execute) : nullptr;
    }
};

} // namespace

TEST_CASE("a code page is found again while nothing changed, without looking at memory but through its entries") {
    for (unsigned leaf{1}; leaf != 3; ++leaf) {
        guest g{leaf};
        CHECK(g.find(linear) == nullptr);
        auto const* const walked = g.walk(linear + 5);
        REQUIRE(walked == g.target(linear + 5));
        g.memory.before_access = [](gpa, hv::access) { FAIL("find asked for memory"); };
        CHECK(g.find(linear + 5) == walked);
        CHECK(g.find(linear + 0xfff) == walked + 0xffa);
        CHECK(g.find(linear + 0x1000) == nullptr);
        CHECK(g.find(linear - 1) == nullptr);
    }
}

TEST_CASE("the walk to a code page sets accessed flags, and none once the page is known") {
    guest g{1};
    static_cast<void>(g.walk(linear));
    for (unsigned level{1}; level != 5; ++level)
        CHECK((g.memory.get<std::uint64_t>(guest::where(level)) & hv::x86::paging::accessed) != 0);
    auto const entry = g.memory.get<std::uint64_t>(guest::where(2));
    g.memory.put(guest::where(2), entry & ~hv::x86::paging::accessed);
    CHECK(g.find(linear) == nullptr); // a processor would set it again
}

TEST_CASE("whatever one changes, a code page that is found is where a walk leads") {
    std::mt19937_64 random{1};
    unsigned found{0}, lost{0};
    std::array guests{guest{1}, guest{2}};
    for (unsigned round{0}; round != 20'000; ++round) {
        auto& g = guests[round % 2];
        auto const before = g.state;
        g.page = {};
        REQUIRE(g.walk(linear) != nullptr);
        auto const bit = std::uint64_t{1} << random() % 64;
        std::uint64_t changed{0};
        switch (random() % 8) {
        case 0:
            g.state.cr0 ^= bit;
            break;
        case 1:
            g.state.cr3 ^= bit;
            break;
        case 2:
            g.state.cr4 ^= bit;
            break;
        case 3:
            g.state.efer ^= bit;
            break;
        case 4:
            g.state.cpl = static_cast<std::uint8_t>(random() % 4);
            break;
        default:
            changed = guest::where(1 + static_cast<unsigned>(random() % 4));
            g.memory.put(changed, g.memory.get<std::uint64_t>(changed) ^ bit);
        }
        if (auto const* const at = g.find(linear + 7)) {
            ++found;
            CHECK(at == g.target(linear + 7));
        } else {
            ++lost;
        }
        g.state = before;
        if (changed != 0)
            g.memory.put(changed, g.memory.get<std::uint64_t>(changed) ^ bit);
    }
    CHECK(found > 500);
    CHECK(lost > 10'000);
}

TEST_CASE("a page that may not be executed, and one that is not memory, are no code pages") {
    guest g{1};
    SECTION("no right") {
        g.memory.put(guest::where(1), g.memory.get<std::uint64_t>(guest::where(1)) | hv::x86::paging::execute_disable);
    }
    SECTION("no memory") {
        g.memory.put<std::uint64_t>(guest::where(1), 0x4000'0000u | user_writable_present);
    }
    SECTION("not present") {
        g.memory.put<std::uint64_t>(guest::where(3), 0);
    }
    CHECK(g.walk(linear) == nullptr);
    CHECK(g.find(linear) == nullptr);
}

TEST_CASE("a forgotten code page is walked to again") {
    guest g{1};
    REQUIRE(g.walk(linear) != nullptr);
    g.page.forget();
    CHECK(g.find(linear) == nullptr);
}
