// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hv {

/// Writes text into a buffer that a `text_line` brings. What does not fit is cut off. Its functions are cold and not
/// inlined, for a line calls many of them.
class text_writer {
  public:
    text_writer(text_writer const&) = delete;
    auto operator=(text_writer const&) -> text_writer& = delete;

    [[gnu::cold, gnu::noinline]] constexpr auto text(std::string_view words) -> text_writer& {
        for (auto const letter : words)
            put(letter);
        return *this;
    }
    [[gnu::cold, gnu::noinline]] constexpr auto character(char letter) -> text_writer& {
        put(letter);
        return *this;
    }
    /// Lower-case digits without a prefix, at least `digits` (1 to 16) of them.
    [[gnu::cold, gnu::noinline]] constexpr auto hex(std::uint64_t value, unsigned digits = 1) -> text_writer& {
        for (unsigned digit{16}; digit-- > 0;)
            if (digit < digits or value >> (4 * digit) != 0 or digit == 0)
                put("0123456789abcdef"[value >> (4 * digit) & 0xf]);
        return *this;
    }
    [[gnu::cold, gnu::noinline]] constexpr auto decimal(std::uint64_t value) -> text_writer& {
        std::uint64_t weight{1};
        while (value / weight >= 10)
            weight *= 10;
        for (; weight != 0; weight /= 10)
            put(static_cast<char>('0' + value / weight % 10));
        return *this;
    }
    constexpr auto clear() -> text_writer& {
        length_ = 0;
        return *this;
    }
    [[nodiscard]] constexpr auto view() const -> std::string_view { return {buffer_, length_}; }
    [[nodiscard]] constexpr auto is_full() const -> bool { return length_ == capacity_; }

  protected:
    constexpr text_writer(char* buffer, std::size_t capacity) : buffer_{buffer}, capacity_{capacity} {}

  private:
    constexpr void put(char letter) {
        if (length_ < capacity_)
            buffer_[length_++] = letter;
    }

    char* buffer_;
    std::size_t capacity_;
    std::size_t length_{};
};

namespace detail {

/// A base in front of the writer, so that the buffer lives when the writer gets it.
template <std::size_t Capacity>
struct text_buffer {
    std::array<char, Capacity> buffer{};
};

} // namespace detail

/// A line of text put together in place, for logs of code that has no printf: `line.text("rip ").hex(rip)`.
/// `view` is valid as long as the line is.
template <std::size_t Capacity = 160>
class text_line : private detail::text_buffer<Capacity>, public text_writer {
  public:
    constexpr text_line() : text_writer{this->buffer.data(), Capacity} {}
};

static_assert(text_line<>{}.text("rip ").hex(0xfff0, 8).text(", ").decimal(1024).view() == "rip 0000fff0, 1024");
static_assert(text_line<4>{}.hex(0x123456).view() == "1234");

} // namespace hv
