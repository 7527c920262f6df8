// SPDX-License-Identifier: BSD-2-Clause
#include <kernel_glue/bare/free_memory.hpp>

#include <catch2/catch.hpp>

#include <random>
#include <utility>
#include <vector>

using namespace hv::bare;
using hv::hpa;

namespace {

using extents = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

auto free_extents(boot_information const& boot, address_range image, address_range limits) -> extents {
    extents found;
    for_each_free_extent(boot, image, limits,
                         [&](std::uint64_t first, std::uint64_t end) { found.emplace_back(first, end); });
    return found;
}

void add(boot_information& boot, std::uint64_t first, std::uint64_t end, memory_kind kind = memory_kind::usable) {
    boot.add_memory({.start = hpa{first}, .size = end - first, .kind = kind});
}

constexpr address_range everything{0, UINT64_MAX};
constexpr address_range no_image{0, 0};

} // namespace

TEST_CASE("memory is free where neither image nor modules lie") {
    boot_information boot;
    add(boot, 0x100000, 0x900000);
    boot.add_module(hpa{0x300800}, hpa{0x301001}, "");
    boot.add_module(hpa{0x8ff000}, hpa{0x900000}, "");
    CHECK(free_extents(boot, {0x100000, 0x123456}, everything) == extents{{0x124000, 0x300000}, {0x302000, 0x8ff000}});
}

TEST_CASE("only whole pages are free") {
    boot_information boot;
    add(boot, 0x100001, 0x102fff);
    add(boot, 0x200001, 0x200fff);
    CHECK(free_extents(boot, no_image, everything) == extents{{0x101000, 0x102000}});
}

TEST_CASE("limits cut extents") {
    boot_information boot;
    add(boot, 0x100000, 0x900000);
    CHECK(free_extents(boot, no_image, {0x200000, 0x300000}) == extents{{0x200000, 0x300000}});
    CHECK(free_extents(boot, no_image, {0x900000, 0xa00000}).empty());
}

TEST_CASE("where a map contradicts itself the memory is in use") {
    boot_information boot;
    add(boot, 0x100000, 0x900000);
    add(boot, 0x200800, 0x201800, memory_kind::reserved);
    add(boot, 0x800000, 0xa00000, memory_kind::acpi_reclaimable);
    CHECK(free_extents(boot, no_image, everything) == extents{{0x100000, 0x200000}, {0x202000, 0x800000}});
}

TEST_CASE("memory that is listed twice is free once") {
    boot_information boot;
    add(boot, 0x100000, 0x300000);
    add(boot, 0x200000, 0x400000);
    add(boot, 0x100000, 0x300000);
    CHECK(free_extents(boot, no_image, everything) == extents{{0x100000, 0x300000}, {0x300000, 0x400000}});
}

TEST_CASE("every page is judged right in random maps") {
    std::mt19937 random{3};
    constexpr std::uint64_t pages{64};
    for (int run{0}; run != 500; ++run) {
        boot_information boot;
        std::vector<int> usable(pages), used(pages);
        auto const range = [&] {
            auto const first = random() % pages;
            return std::pair<std::uint64_t, std::uint64_t>{first, first + 1 + random() % (pages - first)};
        };
        auto const mark = [](std::vector<int>& v, auto r) {
            for (auto p = r.first; p != r.second; ++p)
                v[p] = 1;
        };
        for (int n{0}; n != 4; ++n) {
            auto const r = range();
            auto const kind = random() % 3 == 0 ? memory_kind::reserved : memory_kind::usable;
            add(boot, r.first * hv::page_size, r.second * hv::page_size, kind);
            mark(kind == memory_kind::usable ? usable : used, r);
        }
        for (int n{0}; n != 2; ++n) {
            auto const first = random() % pages;
            boot.add_module(hpa{first * hv::page_size + 1}, hpa{first * hv::page_size + 2}, "");
            used[first] = 1;
        }
        std::vector<int> given(pages);
        for (auto const& [first, end] : free_extents(boot, {5 * hv::page_size + 1, 6 * hv::page_size}, everything))
            for (auto a = first; a != end; a += hv::page_size)
                ++given.at(a / hv::page_size);
        used[5] = 1;
        for (std::uint64_t p{0}; p != pages; ++p)
            REQUIRE(given[p] == (usable[p] != 0 and used[p] == 0 ? 1 : 0));
    }
}
