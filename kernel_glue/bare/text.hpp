// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hv::bare {

/// A line of output put together piece by piece; what does not fit is cut off.
class text {
  public:
    [[gnu::cold, gnu::noinline]] constexpr auto operator<<(std::string_view s) -> text& {
        for (char const c : s)
            append(c);
        return *this;
    }
    constexpr auto operator<<(char c) -> text& {
        append(c);
        return *this;
    }

    [[gnu::cold, gnu::noinline]] constexpr auto decimal(std::uint64_t value) -> text& {
        std::array<char, 20> digits{};
        std::size_t n{0};
        do {
            digits[n++] = static_cast<char>('0' + value % 10);
            value /= 10;
        } while (value != 0);
        while (n != 0)
            append(digits[--n]);
        return *this;
    }

    /// Lower-case hexadecimal with leading zeros up to `width` digits.
    [[gnu::cold, gnu::noinline]] constexpr auto hex(std::uint64_t value, unsigned width = 1) -> text& {
        unsigned n{16};
        while (n > 1 and n > width and value >> (n - 1) * 4 == 0)
            --n;
        while (n != 0)
            append("0123456789abcdef"[value >> --n * 4 & 15]);
        return *this;
    }

    [[nodiscard]] constexpr auto view() const -> std::string_view { return {bytes_.data(), size_}; }
    constexpr void clear() { size_ = 0; }

  private:
    constexpr void append(char c) {
        if (size_ != bytes_.size())
            bytes_[size_++] = c;
    }

    std::array<char, 240> bytes_{};
    std::size_t size_{0};
};

} // namespace hv::bare
