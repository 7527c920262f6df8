// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hv {

/// A line of text put together in place, for logs of code that has no printf: `line.text("rip ").hex(rip)`.
/// What does not fit is cut off; `view` is valid as long as the line is.
template <std::size_t Capacity = 160>
class text_line {
  public:
    constexpr auto text(std::string_view words) -> text_line& {
        for (auto const letter : words)
            character(letter);
        return *this;
    }
    constexpr auto character(char letter) -> text_line& {
        if (length_ < Capacity)
            buffer_[length_++] = letter;
        return *this;
    }
    /// Lower-case digits without a prefix, at least `digits` (1 to 16) of them.
    constexpr auto hex(std::uint64_t value, unsigned digits = 1) -> text_line& {
        for (unsigned digit{16}; digit-- > 0;)
            if (digit < digits or value >> (4 * digit) != 0 or digit == 0)
                character("0123456789abcdef"[value >> (4 * digit) & 0xf]);
        return *this;
    }
    constexpr auto decimal(std::uint64_t value) -> text_line& {
        std::uint64_t weight{1};
        while (value / weight >= 10)
            weight *= 10;
        for (; weight != 0; weight /= 10)
            character(static_cast<char>('0' + value / weight % 10));
        return *this;
    }
    constexpr auto clear() -> text_line& {
        length_ = 0;
        return *this;
    }
    [[nodiscard]] constexpr auto view() const -> std::string_view { return {buffer_.data(), length_}; }
    [[nodiscard]] constexpr auto is_full() const -> bool { return length_ == Capacity; }

  private:
    std::array<char, Capacity> buffer_{};
    std::size_t length_{};
};

static_assert(text_line<>{}.text("rip ").hex(0xfff0, 8).text(", ").decimal(1024).view() == "rip 0000fff0, 1024");
static_assert(text_line<4>{}.hex(0x123456).view() == "1234");

} // namespace hv
