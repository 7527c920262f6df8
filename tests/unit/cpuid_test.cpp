// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/cpuid.hpp>

#include <algorithm>
#include <iterator>
#include <vector>

#include <array>
#include <stdexcept>
#include <string_view>

namespace {

/// A processor that has everything: what a profile lets through shows.
struct generous_host {
    auto cpuid(std::uint32_t leaf, std::uint32_t) const -> hv::x86::cpuid_result {
        if (leaf == 0)
            return {.eax = 0x1f, .ebx = 0x68747541, .ecx = 0x444d4163, .edx = 0x69746e65};
        if (leaf == 0x80000000)
            return {.eax = 0x80000028};
        return {~0u, ~0u, ~0u, ~0u};
    }
    void panic(std::string_view why) { throw std::runtime_error{std::string{why}}; }
};

} // namespace

TEST_CASE("the default profile hides virtualisation, counters and extended state") {
    generous_host host;
    auto const table = hv::make_cpuid_table<hv::default_cpuid_profile>(host);
    namespace bits = hv::x86::cpuid_bits;
    auto const& one = table.find(1, 0)->values;
    CHECK((one.ecx & (bits::leaf1_ecx::vmx | bits::leaf1_ecx::pdcm | bits::leaf1_ecx::xsave | bits::leaf1_ecx::osxsave |
                      bits::leaf1_ecx::avx | bits::leaf1_ecx::monitor)) == 0);
    CHECK((one.ecx & bits::leaf1_ecx::hypervisor) != 0);
    CHECK((table.find(0x80000001, 0)->values.ecx & bits::extended1_ecx::svm) == 0);
    CHECK(table.find(0x8000000a, 0) == nullptr);
    CHECK(table.find(0xa, 0) == nullptr);
    CHECK(table.find(0xd, 0) == nullptr);
    CHECK(table.find(7, 1) == nullptr);
    CHECK(table.find(0x40000001, 0) == nullptr);
    CHECK(table.find(0xffffffff, 0) == nullptr);
}

TEST_CASE("the default profile says of the TSC what holds for every other clock, whatever the host says") {
    struct silent_host : generous_host {
        auto cpuid(std::uint32_t leaf, std::uint32_t index) const -> hv::x86::cpuid_result {
            return (leaf & 0x7fffffff) == 0 ? hv::x86::cpuid_result{.eax = leaf + 1}
                                            : generous_host::cpuid(leaf, index);
        }
    } host;
    namespace bits = hv::x86::cpuid_bits;
    auto const table = hv::make_cpuid_table<hv::default_cpuid_profile>(host);
    CHECK(table.find(0x80000007, 0)->values == hv::x86::cpuid_result{.edx = bits::invariant_tsc});
    CHECK(table.find(7, 0)->values == hv::x86::cpuid_result{.ebx = bits::leaf7_ebx::tsc_adjust});
}

TEST_CASE("a leaf beyond the host's last gives nothing of the host's") {
    struct small_host : generous_host {
        auto cpuid(std::uint32_t leaf, std::uint32_t index) const -> hv::x86::cpuid_result {
            if (leaf == 0)
                return {.eax = 1};
            return generous_host::cpuid(leaf, index);
        }
    } host;
    auto const table = hv::make_cpuid_table<hv::default_cpuid_profile>(host);
    CHECK(table.find(7, 0)->values == hv::x86::cpuid_result{.ebx = hv::x86::cpuid_bits::leaf7_ebx::tsc_adjust});
}

TEST_CASE("a table finds functions with and without subleaves") {
    std::array const entries{hv::cpuid_entry{.function = 1, .values = {.eax = 10}},
                             hv::cpuid_entry{.function = 4, .index = 0, .match_index = true, .values = {.eax = 40}},
                             hv::cpuid_entry{.function = 4, .index = 2, .match_index = true, .values = {.eax = 42}},
                             hv::cpuid_entry{.function = 9, .values = {.eax = 90}}};
    hv::cpuid_table table;
    REQUIRE(table.assign(entries) == hv::status::ok);
    for (std::uint32_t const index : {0u, 1u, 77u}) {
        REQUIRE(table.find(1, index) != nullptr);
        CHECK(table.find(1, index)->values.eax == 10);
        CHECK(table.find(9, index)->values.eax == 90);
    }
    CHECK(table.find(4, 0)->values.eax == 40);
    CHECK(table.find(4, 1) == nullptr);
    CHECK(table.find(4, 2)->values.eax == 42);
    CHECK(table.find(4, 3) == nullptr);
    CHECK(table.find(0, 0) == nullptr);
    CHECK(table.find(5, 0) == nullptr);
}

TEST_CASE("leaves are found in every range of numbers, low and high, and none that is not there") {
    constexpr std::uint32_t functions[]{0,          0x1f,       0x20,       0x3fffffff, 0x40000000, 0x4000001f,
                                        0x40000100, 0x80000000, 0x8000001f, 0x80000020, 0xc0000001, 0xffffffff};
    std::vector<hv::cpuid_entry> entries;
    for (auto const function : functions)
        entries.push_back({.function = function, .values = {.eax = ~function}});
    hv::cpuid_table table;
    CHECK(table.find(0, 0) == nullptr);
    REQUIRE(table.assign(entries) == hv::status::ok);
    for (auto const function : functions)
        for (auto const near : {function - 1, function, function + 1}) {
            auto const listed = std::count(std::begin(functions), std::end(functions), near) != 0;
            auto const* const found = table.find(near, 5);
            CHECK((found != nullptr) == listed);
            if (found != nullptr)
                CHECK(found->values.eax == ~near);
        }
    REQUIRE(table.assign(std::span{entries}.first(3)) == hv::status::ok);
    CHECK(table.find(0x20, 0) != nullptr);
    CHECK(table.find(0x40000000, 0) == nullptr);
}

TEST_CASE("unsorted, repeated or too many leaves are refused and change nothing") {
    hv::cpuid_table table;
    std::array const good{hv::cpuid_entry{.function = 1}};
    REQUIRE(table.assign(good) == hv::status::ok);
    std::array const unsorted{hv::cpuid_entry{.function = 2}, hv::cpuid_entry{.function = 1}};
    CHECK(table.assign(unsorted) == hv::status::invalid_argument);
    std::array const repeated{hv::cpuid_entry{.function = 2}, hv::cpuid_entry{.function = 2}};
    CHECK(table.assign(repeated) == hv::status::invalid_argument);
    std::array<hv::cpuid_entry, hv::cpuid_table::capacity + 1> many{};
    CHECK(table.assign(many) == hv::status::too_big);
    CHECK(table.entries().size() == 1);
}
