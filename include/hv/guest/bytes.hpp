// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/memory/guest_memory.hpp>

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

/// Reading files that nobody vouches for, and writing to guest memory page by page.
namespace hv::guest {

using file = std::span<std::byte const>;

/// Whether `count` bytes at `offset` lie inside `bytes`.
[[nodiscard]] constexpr auto holds(file bytes, std::uint64_t offset, std::uint64_t count) -> bool {
    return offset <= bytes.size() and count <= bytes.size() - offset;
}

/// The little-endian number at `offset`; 0 where it would reach beyond the end.
template <std::unsigned_integral T>
[[nodiscard]] constexpr auto number_at(file bytes, std::uint64_t offset) -> T {
    if (not holds(bytes, offset, sizeof(T)))
        return 0;
    std::uint64_t value{};
    for (std::size_t i{sizeof(T)}; i != 0; --i)
        value = value << 8 | std::to_integer<std::uint64_t>(bytes[static_cast<std::size_t>(offset) + i - 1]);
    return static_cast<T>(value);
}

/// `count` bytes at `offset`; empty where they would reach beyond the end.
[[nodiscard]] constexpr auto part_of(file bytes, std::uint64_t offset, std::uint64_t count) -> file {
    if (not holds(bytes, offset, count))
        return {};
    return bytes.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(count));
}

/// Whether `first + count` fits into 64 bits.
[[nodiscard]] constexpr auto sum_fits(std::uint64_t first, std::uint64_t count) -> bool {
    return count <= UINT64_MAX - first;
}

/// Rounds up to a power of two. The caller knows that the result fits.
[[nodiscard]] constexpr auto align_up(std::uint64_t value, std::uint64_t alignment) -> std::uint64_t {
    return (value + alignment - 1) & ~(alignment - 1);
}
[[nodiscard]] constexpr auto align_down(std::uint64_t value, std::uint64_t alignment) -> std::uint64_t {
    return value & ~(alignment - 1);
}

/// std::has_single_bit without its call of the compiler's library, which images do not link.
[[nodiscard]] constexpr auto is_power_of_two(std::uint64_t value) -> bool {
    return value != 0 and (value & (value - 1)) == 0;
}

namespace detail {

/// Calls `visit(pointer, offset, count)` for each piece of [address, address + count) that lies in one page.
template <guest_memory M>
[[nodiscard]] constexpr auto for_each_page(M& memory, std::uint64_t address, std::uint64_t count, auto visit) -> bool {
    if (not sum_fits(address, count))
        return false;
    for (std::uint64_t done{}; done != count;) {
        auto const room = page_size - gpa{address + done}.page_offset();
        auto const now = count - done < room ? count - done : room;
        auto* const to = memory.at(gpa{address + done}, access::write);
        if (to == nullptr)
            return false;
        visit(to, static_cast<std::size_t>(done), static_cast<std::size_t>(now));
        done += now;
    }
    return true;
}

} // namespace detail

/// Copies `bytes` to guest memory. False if some of it is not writable memory; what came before is written then.
template <guest_memory M>
[[nodiscard]] constexpr auto place(M& memory, std::uint64_t address, file bytes) -> bool {
    return detail::for_each_page(memory, address, bytes.size(),
                                 [bytes](std::byte* to, std::size_t offset, std::size_t count) {
                                     if (std::is_constant_evaluated())
                                         for (std::size_t i{}; i != count; ++i)
                                             to[i] = bytes[offset + i];
                                     else
                                         __builtin_memcpy(to, bytes.data() + offset, count);
                                 });
}

/// Writes zeros to guest memory, with the answer of `place`.
template <guest_memory M>
[[nodiscard]] constexpr auto clear(M& memory, std::uint64_t address, std::uint64_t count) -> bool {
    return detail::for_each_page(memory, address, count, [](std::byte* to, std::size_t, std::size_t n) {
        if (std::is_constant_evaluated())
            for (std::size_t i{}; i != n; ++i)
                to[i] = std::byte{};
        else
            __builtin_memset(to, 0, n);
    });
}

/// Writes one little-endian number or plain structure, with the answer of `place`.
template <typename T, guest_memory M>
    requires std::is_trivially_copyable_v<T>
[[nodiscard]] constexpr auto place_value(M& memory, std::uint64_t address, T const& value) -> bool {
    auto const bytes = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
    return place(memory, address, bytes);
}

} // namespace hv::guest
