// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

/// Accesses to memory that a guest may change at any instant: each byte is read or written exactly once, and a value
/// that lies naturally aligned in the guest, of at most eight bytes, is never torn. So what was checked is what is
/// used.
namespace hv {

namespace detail {

/// The widest single access that address and length allow.
[[nodiscard]] inline auto piece(std::byte const* guest, std::size_t left) -> std::size_t {
    for (std::size_t width{8}; width > 1; width /= 2)
        if (left >= width and (std::bit_cast<std::uintptr_t>(guest) & (width - 1)) == 0)
            return width;
    return 1;
}

template <typename Word>
void read_word_once(std::byte* to, std::byte const* guest) {
    auto const word = __atomic_load_n(static_cast<Word const*>(static_cast<void const*>(guest)), __ATOMIC_RELAXED);
    __builtin_memcpy(to, &word, sizeof(word));
}

template <typename Word>
void write_word_once(std::byte* guest, std::byte const* from) {
    Word word;
    __builtin_memcpy(&word, from, sizeof(word));
    __atomic_store_n(static_cast<Word*>(static_cast<void*>(guest)), word, __ATOMIC_RELAXED);
}

} // namespace detail

/// Copies `bytes` out of guest memory.
inline void read_once(std::byte* to, std::byte const* guest, std::size_t bytes) {
    for (std::size_t done{}; done != bytes;) {
        auto const width = detail::piece(guest + done, bytes - done);
        switch (width) {
        case 8:
            detail::read_word_once<std::uint64_t>(to + done, guest + done);
            break;
        case 4:
            detail::read_word_once<std::uint32_t>(to + done, guest + done);
            break;
        case 2:
            detail::read_word_once<std::uint16_t>(to + done, guest + done);
            break;
        default:
            detail::read_word_once<std::uint8_t>(to + done, guest + done);
            break;
        }
        done += width;
    }
}

/// Copies `bytes` into guest memory.
inline void write_once(std::byte* guest, std::byte const* from, std::size_t bytes) {
    for (std::size_t done{}; done != bytes;) {
        auto const width = detail::piece(guest + done, bytes - done);
        switch (width) {
        case 8:
            detail::write_word_once<std::uint64_t>(guest + done, from + done);
            break;
        case 4:
            detail::write_word_once<std::uint32_t>(guest + done, from + done);
            break;
        case 2:
            detail::write_word_once<std::uint16_t>(guest + done, from + done);
            break;
        default:
            detail::write_word_once<std::uint8_t>(guest + done, from + done);
            break;
        }
        done += width;
    }
}

} // namespace hv
