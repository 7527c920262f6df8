// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/guest/memory_layout.hpp>

using hv::guest::memory_layout;
using hv::guest::memory_range;
using hv::guest::memory_type;

TEST_CASE("memory beyond 3 GiB continues at 4 GiB") {
    constexpr memory_layout layout{5ull << 30};
    STATIC_REQUIRE(layout.below_4g() == 3ull << 30);
    STATIC_REQUIRE(layout.above_4g() == 2ull << 30);
    auto const map = layout.map();
    REQUIRE(map.count == 4);
    CHECK(map.ranges[0] == memory_range{0, 0xa0000, memory_type::ram});
    CHECK(map.ranges[1] == memory_range{0xa0000, 0x60000, memory_type::reserved});
    CHECK(map.ranges[2] == memory_range{0x100000, (3ull << 30) - 0x100000, memory_type::ram});
    CHECK(map.ranges[3] == memory_range{1ull << 32, 2ull << 30, memory_type::ram});
}

TEST_CASE("a small memory has a short map that never reaches beyond it") {
    for (std::uint64_t const size : {0ull, 0x1000ull, 0xa0000ull, 0xb0000ull, 0x100000ull, 0x101000ull}) {
        std::uint64_t end{};
        for (auto const& range : memory_layout{size}.map()) {
            CHECK(range.size != 0);
            CHECK(range.first == end);
            end = range.first + range.size;
        }
        CHECK(end == size);
    }
}

TEST_CASE("only what lies in one piece of memory is contained") {
    constexpr memory_layout layout{5ull << 30};
    STATIC_REQUIRE(layout.contains(0, 3ull << 30));
    STATIC_REQUIRE(not layout.contains(1, 3ull << 30));
    STATIC_REQUIRE(not layout.contains(3ull << 30, 1));
    STATIC_REQUIRE(layout.contains(4ull << 30, 2ull << 30));
    STATIC_REQUIRE(not layout.contains((4ull << 30) - 1, 2));
    STATIC_REQUIRE(not layout.contains(UINT64_MAX, UINT64_MAX));
    STATIC_REQUIRE(not layout.contains(4ull << 30, UINT64_MAX));
    STATIC_REQUIRE(not memory_layout{1ull << 20}.contains(4ull << 30, 1));
}
