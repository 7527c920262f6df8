// SPDX-License-Identifier: BSD-2-Clause
#include <kernel_glue/bare/page_tables.hpp>

#include <catch2/catch.hpp>

#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

using namespace hv::bare;
using hv::page_size;

namespace {

constexpr std::uint64_t megabyte{1u << 20}, gigabyte{1u << 30}, no_execute{std::uint64_t{1} << 63};

struct setup {
    explicit setup(bool gigabyte_pages = true, std::uint64_t room = 4 * megabyte)
        : arena{std::aligned_alloc(page_size, room), std::free} {
        auto const start = reinterpret_cast<std::uint64_t>(arena.get());
        memory.add(start, start + room);
        tables = std::make_unique<page_tables>(memory, gigabyte_pages);
    }
    [[nodiscard]] auto table_count(std::uint64_t room = 4 * megabyte) const -> std::uint64_t {
        return (room - memory.available()) / page_size;
    }

    std::unique_ptr<void, decltype(&std::free)> arena;
    page_allocator memory;
    std::unique_ptr<page_tables> tables;
};

} // namespace

TEST_CASE("addresses map to themselves with the flags of their mapping") {
    setup s;
    s.tables->set(0x1000, 0x2000, mapping::code);
    s.tables->set(0x2000, 0x3000, mapping::constant);
    s.tables->set(0x3000, 0x4000, mapping::data);
    s.tables->set(0x4000, 0x5000, mapping::device);
    CHECK(s.tables->entry_of(0x1234) == 0x1001);
    CHECK(s.tables->entry_of(0x2000) == (no_execute | 0x2001));
    CHECK(s.tables->entry_of(0x3fff) == (no_execute | 0x3003));
    CHECK(s.tables->entry_of(0x4000) == (no_execute | 0x401b));
    CHECK(s.tables->entry_of(0) == 0);
    CHECK(s.tables->entry_of(0x5000) == 0);
    CHECK(s.tables->is_complete());
}

TEST_CASE("the largest pages that fit are used") {
    setup s;
    s.tables->set(4 * gigabyte, 8 * gigabyte, mapping::data);
    CHECK(s.tables->entry_of(5 * gigabyte + 5) == (no_execute | 5 * gigabyte | 0x83));
    CHECK(s.table_count() == 2);
    s.tables->set(2 * megabyte, 6 * megabyte, mapping::data);
    CHECK(s.tables->entry_of(5 * megabyte) == (no_execute | 4 * megabyte | 0x83));
    CHECK(s.table_count() == 3);

    setup without{false};
    without.tables->set(4 * gigabyte, 5 * gigabyte, mapping::data);
    CHECK(without.tables->entry_of(4 * gigabyte + 3 * megabyte) == (no_execute | (4 * gigabyte + 2 * megabyte) | 0x83));
}

TEST_CASE("a change within a large page leaves the rest of it as it was") {
    setup s;
    s.tables->set(0, 4 * gigabyte, mapping::data);
    s.tables->set(gigabyte + 0x5000, gigabyte + 0x6000, mapping::none);
    s.tables->set(gigabyte + 0x6000, gigabyte + 0x7000, mapping::code);
    CHECK(s.tables->entry_of(gigabyte + 0x5000) == 0);
    CHECK(s.tables->entry_of(gigabyte + 0x6000) == gigabyte + 0x6001);
    CHECK(s.tables->entry_of(gigabyte + 0x4000) == (no_execute | (gigabyte + 0x4003)));
    CHECK(s.tables->entry_of(gigabyte + 0x7000) == (no_execute | (gigabyte + 0x7003)));
    CHECK(s.tables->entry_of(gigabyte + 2 * megabyte) == (no_execute | (gigabyte + 2 * megabyte) | 0x83));
    CHECK(s.tables->entry_of(2 * gigabyte) == (no_execute | 2 * gigabyte | 0x83));
}

TEST_CASE("without memory for a table the tables say so") {
    setup s{true, 2 * page_size};
    s.tables->set(0, gigabyte, mapping::data);
    CHECK(s.tables->is_complete());
    s.tables->set(0, page_size, mapping::none);
    CHECK_FALSE(s.tables->is_complete());
}

TEST_CASE("every page is mapped as it was last set") {
    std::mt19937 random{5};
    constexpr std::uint64_t pages{4096}, start{gigabyte - 2048 * page_size}; // across a gigabyte
    for (int run{0}; run != 20; ++run) {
        setup s;
        std::vector<mapping> expected(pages, mapping::none);
        for (int n{0}; n != 30; ++n) {
            constexpr mapping kinds[]{mapping::none, mapping::code, mapping::constant, mapping::data, mapping::device};
            auto const how = kinds[random() % 5];
            auto const first = random() % pages;
            auto const end = first + 1 + random() % (pages - first);
            s.tables->set(start + first * page_size, start + end * page_size, how);
            for (auto p = first; p != end; ++p)
                expected[p] = how;
        }
        REQUIRE(s.tables->is_complete());
        for (std::uint64_t p{0}; p != pages; ++p) {
            constexpr std::uint64_t flags{no_execute | 0x1f}, large{0x80};
            auto const entry = s.tables->entry_of(start + p * page_size);
            REQUIRE((entry & flags) == static_cast<std::uint64_t>(expected[p]));
            if (entry != 0) {
                auto const mask = (entry & large) != 0 ? 2 * megabyte - 1 : page_size - 1;
                REQUIRE((entry & 0x000ffffffffff000 & ~mask) == ((start + p * page_size) & ~mask));
            }
        }
    }
}
