// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "act_at_cpuid.hpp"
#include "whole_machine.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <vector>

using namespace hv;
using namespace hv::test;

namespace {

struct pc_that_acts : fake_pc {
    using handlers = exit_chain<leave_at_pause, act_at_cpuid>;
};

constexpr gpa code{0x200000}; ///< a page of its own, at the same linear address
constexpr auto all = hv::access::read | hv::access::write | hv::access::execute;
constexpr std::initializer_list<unsigned> cpuid_of_two{0x0f, 0xa2}, cpuid_of_three{0x66, 0x0f, 0xa2};

/// A guest in 64-bit mode, on a processor that does not tell how long an instruction is.
struct guest_with_code : whole_machine<pc_that_acts> {
    guest_with_code() {
        exclusive_access access{*machine};
        map(access.memory(), 1);
        long_mode();
        poke(code.value, cpuid_of_two);
        act_at_cpuid::answer = verdict::not_mine; // the library serves it afterwards
    }
    ~guest_with_code() { act_at_cpuid::forget(); }

    void map(auto& memory, unsigned segment) {
        if (memory.allocate_segment(host, segment, page_size, false) != status::ok or
            memory.map(host, code, segment, 0, page_size, all) != status::ok)
            throw std::runtime_error{"no page"};
    }
    /// Puts another page in place of the one with the code; the host does not get the same.
    void replace(auto& memory, std::initializer_list<unsigned> bytes) {
        if (memory.allocate_segment(host, 2, page_size, false) != status::ok or
            memory.unmap(host, code, page_size) != status::ok or memory.free_segment(host, 1) != status::ok or
            memory.map(host, code, 2, 0, page_size, all) != status::ok)
            throw std::runtime_error{"no other page"};
        poke(code.value, bytes);
    }
    /// How far a CPUID at the start of the page moves RIP.
    [[nodiscard]] auto length() -> std::uint64_t {
        guest().set_rip(code.value);
        run({script::exit{.what = exits::cpuid{}, .length = 0}});
        return guest().rip() - code.value;
    }
};

} // namespace

TEST_CASE("code is read where the map has it now, when a handler changed the map before the service") {
    guest_with_code m;
    REQUIRE(m.length() == 2);
    act_at_cpuid::what = [&m](auto) {
        exclusive_access access{m.cpu()};
        m.replace(access.memory(), cpuid_of_three);
    };
    CHECK(m.length() == 3);
}

TEST_CASE("code is read where the map has it now, when the map was changed between two runs") {
    guest_with_code m;
    REQUIRE(m.length() == 2);
    {
        exclusive_access access{*m.machine};
        m.replace(access.memory(), cpuid_of_three);
    }
    CHECK(m.length() == 3);
}

TEST_CASE("a machine that is made again does not remember the code of the one before") {
    guest_with_code m;
    REQUIRE(m.length() == 2);
    std::vector<std::byte> tables(guest::identity_tables_size);
    auto* const tables_were = m.machine->memory().at(gpa{tables_at}, hv::access::read);
    std::copy_n(tables_were, tables.size(), tables.begin());
    m.machine->destroy();
    // Whoever has that memory now keeps the same in it.
    constexpr auto block_size = guest_with_code::memory_size;
    std::vector<std::byte*> blocks;
    do {
        blocks.push_back(static_cast<std::byte*>(m.host.allocate(block_size, page_size)));
        REQUIRE(blocks.back() != nullptr);
    } while (std::less{}(tables_were, blocks.back()) or
             not std::less{}(tables_were + tables.size(), blocks.back() + block_size));
    std::copy(tables.begin(), tables.end(), tables_were);
    for (; blocks.size() != 1; blocks.erase(blocks.begin()))
        m.host.free(blocks.front(), block_size);
    m.make();
    {
        exclusive_access access{*m.machine};
        m.map(access.memory(), 1);
    }
    m.long_mode();
    m.poke(code.value, cpuid_of_three);
    CHECK(m.length() == 3);
}
