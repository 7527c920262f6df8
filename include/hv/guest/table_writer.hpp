// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/guest/bytes.hpp>

#include <cstdint>
#include <string_view>

namespace hv::guest {

/// Writes firmware tables to guest memory, front to back, and keeps the sum that their checksums need.
template <guest_memory M>
class table_writer {
  public:
    constexpr table_writer(M& memory, std::uint64_t address, std::uint64_t end)
        : memory_{memory}, next_{address}, end_{end} {}

    /// Where the next byte goes.
    [[nodiscard]] constexpr auto position() const -> std::uint64_t { return next_; }
    /// Whether everything so far fitted and was memory.
    [[nodiscard]] constexpr auto ok() const -> bool { return ok_; }

    /// Begins a structure at the next multiple of a power of two, and answers where that is.
    constexpr auto begin(std::uint64_t alignment) -> std::uint64_t {
        while (next_ % alignment != 0)
            put(std::uint8_t{});
        sum_ = 0;
        return start_ = next_;
    }

    template <std::unsigned_integral T>
    constexpr void put(T value) {
        for (unsigned i{}; i != sizeof(T); ++i)
            byte(static_cast<std::uint8_t>(std::uint64_t{value} >> (8 * i)));
    }
    constexpr void put(std::string_view text) {
        for (char const c : text)
            byte(static_cast<std::uint8_t>(c));
    }
    constexpr void zeros(unsigned count) {
        for (; count != 0; --count)
            byte(0);
    }

    /// Bytes since `begin`.
    [[nodiscard]] constexpr auto size() const -> std::uint64_t { return next_ - start_; }

    /// Replaces a number of the present structure that was written as zero.
    template <std::unsigned_integral T>
    constexpr void patch(std::uint64_t offset, T value) {
        ok_ = ok_ and place_value(memory_, start_ + offset, value);
        for (unsigned i{}; i != sizeof(T); ++i)
            sum_ = static_cast<std::uint8_t>(sum_ + (std::uint64_t{value} >> (8 * i)));
    }

    /// Makes all bytes since `begin` add up to zero by the byte at `offset`, which was written as zero.
    constexpr void patch_checksum(std::uint64_t offset) { patch(offset, static_cast<std::uint8_t>(0x100u - sum_)); }

  private:
    [[gnu::noinline]] constexpr void byte(std::uint8_t value) {
        ok_ = ok_ and next_ < end_ and place_value(memory_, next_, value);
        ++next_;
        sum_ = static_cast<std::uint8_t>(sum_ + value);
    }

    M& memory_;
    std::uint64_t next_;
    std::uint64_t end_;
    std::uint64_t start_{};
    std::uint8_t sum_{};
    bool ok_{true};
};

} // namespace hv::guest
