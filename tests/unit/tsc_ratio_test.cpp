// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/tsc_ratio.hpp>

#include <cstdint>

using namespace hv;

namespace {

constexpr tsc_scaling wide{.integer_bits = 16, .fraction_bits = 48};
constexpr tsc_scaling narrow{.integer_bits = 8, .fraction_bits = 32};

static_assert(frequency_ratio(1, 1, wide).value == 1ull << 48);
static_assert(frequency_ratio(3'000'000'000, 2'000'000'000, narrow).value == 3ull << 31);
static_assert(scaled_tsc(1000, 3ull << 31, narrow) == 1500);

} // namespace

TEST_CASE("a scaled counter is late by less than a tick in as many as the ratio has fraction bits") {
    for (auto const guest : {500'000'000ull, 1'193'182ull, 2'400'000'000ull, 3'333'333'333ull, 10'000'000'000ull})
        for (auto const host : {1'000'000'000ull, 2'399'999'999ull, 5'000'000'000ull})
            for (auto const& format : {wide, narrow}) {
                auto const ratio = frequency_ratio(guest, host, format);
                REQUIRE(ratio);
                for (std::uint64_t const seconds : {1ull, 3600ull, 86400ull}) {
                    auto const exact = seconds * guest;
                    auto const got = scaled_tsc(seconds * host, ratio.value, format);
                    CHECK(got <= exact);
                    CHECK(exact - got <= (seconds * host >> format.fraction_bits) + 1);
                }
            }
}

TEST_CASE("the counter wraps as the processor's does") {
    auto const twice = frequency_ratio(2, 1, wide).value;
    CHECK(scaled_tsc(~0ull, twice, wide) == ~0ull - 1);
}

TEST_CASE("a ratio that the processor cannot hold is refused, and so are frequencies that are none") {
    CHECK(frequency_ratio(255'999, 1000, narrow));
    CHECK(frequency_ratio(256'000, 1000, narrow).error == status::out_of_range);
    CHECK(frequency_ratio(256'000, 1000, wide));
    CHECK(frequency_ratio(65'536, 1, wide).error == status::out_of_range);
    CHECK(frequency_ratio(1, 1ull << 40, narrow).error == status::out_of_range);
    CHECK(frequency_ratio(0, 1, wide).error == status::invalid_argument);
    CHECK(frequency_ratio(1, 0, wide).error == status::invalid_argument);
    CHECK(frequency_ratio(~0ull, ~0ull, wide).error == status::invalid_argument);
}
