// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <catch2/catch.hpp>

#include <cstdint>

namespace hv::test {

/// Numbers that a seed decides: SplitMix64. The program's seed is Catch2's --rng-seed.
class random_numbers {
  public:
    explicit random_numbers(std::uint64_t stream) : state_{Catch::rngSeed() * 0x9e3779b97f4a7c15 + stream} {}

    [[nodiscard]] auto next() -> std::uint64_t {
        auto z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
    /// Less than `count`.
    [[nodiscard]] auto below(std::uint64_t count) -> std::uint64_t { return next() % count; }
    [[nodiscard]] auto one_in(std::uint64_t count) -> bool { return below(count) == 0; }

  private:
    std::uint64_t state_;
};

} // namespace hv::test
