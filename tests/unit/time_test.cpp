// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/time.hpp>

TEST_CASE("a timer of any frequency never fires early") {
    for (std::uint64_t const frequency : {1193182ull, 3579545ull, 32768ull, 16777216ull, 134217728ull})
        for (std::uint64_t const ticks : {0ull, 1ull, 2ull, 65535ull, 65536ull, 4294967295ull, 1ull << 40}) {
            auto const duration = hv::time_for(ticks, frequency);
            CHECK(hv::ticks_in(duration, frequency) == ticks);
            if (ticks != 0)
                CHECK(hv::ticks_in(duration - 1, frequency) < ticks);
        }
}
