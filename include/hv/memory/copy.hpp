// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/memory/guest_memory.hpp>
#include <hv/memory/guest_walk.hpp>
#include <hv/memory/once.hpp>
#include <hv/status.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

/// Copies between the guest and the host that happen as a whole or not at all: every page is found before the first
/// byte moves.
namespace hv {

/// The longest copy by guest-virtual address, in bytes, at any alignment.
inline constexpr std::size_t longest_copy{16 * page_size};

/// How a copy by guest-virtual address ended.
struct [[nodiscard]] copy_result {
    status error{status::ok}; ///< ok; too_big: longer than `longest_copy`; bad_address: the rest says why
    translation_failure failure{translation_failure::none};
    std::uint32_t error_code{}; ///< of the #PF
    gva address{};              ///< the first byte that could not be reached: CR2 of the #PF

    [[nodiscard]] constexpr auto ok() const -> bool { return error == status::ok; }
};

namespace detail {

/// Bytes of a copy that lie in the page of its byte number `done`.
[[nodiscard]] constexpr auto bytes_in_page(std::uint64_t first, std::size_t done, std::size_t all) -> std::size_t {
    auto const room = static_cast<std::size_t>(page_size - ((first + done) & (page_size - 1)));
    return room < all - done ? room : all - done;
}

/// `Byte` is const for a copy out.
template <typename Byte>
void copy_piece(std::byte* guest, Byte* own, std::size_t bytes) {
    if constexpr (std::is_const_v<Byte>)
        write_once(guest, own, bytes);
    else
        read_once(own, guest, bytes);
}

template <typename Byte, guest_memory M>
auto copy_virtual(M& memory, paging_state const& state, gva where, std::span<Byte> own) -> copy_result {
    constexpr auto wanted = std::is_const_v<Byte> ? access::write : access::read;
    if (own.size() > longest_copy)
        return {.error = status::too_big};
    std::array<std::byte*, longest_copy / page_size + 1> pages{};
    std::size_t count{};
    for (std::size_t done{}; done != own.size(); done += bytes_in_page(where.value, done, own.size())) {
        auto const found = translate(memory, state, where + done, wanted);
        if (not found.ok)
            return {status::bad_address, found.failure, found.error_code, where + done};
        pages[count] = memory.at(found.address, wanted);
        if (pages[count] == nullptr)
            return {status::bad_address, translation_failure::no_memory, 0, where + done};
        ++count;
    }
    count = 0;
    for (std::size_t done{}; done != own.size();) {
        auto const bytes = bytes_in_page(where.value, done, own.size());
        copy_piece(pages[count], own.data() + done, bytes);
        ++count;
        done += bytes;
    }
    return {};
}

template <typename Byte, guest_memory M>
auto copy_physical(M& memory, gpa where, std::span<Byte> own) -> status {
    constexpr auto wanted = std::is_const_v<Byte> ? access::write : access::read;
    if (own.size() > ~where.value)
        return status::bad_address;
    for (std::size_t done{}; done != own.size(); done += bytes_in_page(where.value, done, own.size()))
        if (memory.at(where + done, wanted) == nullptr)
            return status::bad_address;
    for (std::size_t done{}; done != own.size();) {
        auto const bytes = bytes_in_page(where.value, done, own.size());
        auto* const guest = memory.at(where + done, wanted);
        if (guest == nullptr)
            return status::bad_address; // somebody unmapped it meanwhile; the caller should have held the map
        copy_piece(guest, own.data() + done, bytes);
        done += bytes;
    }
    return status::ok;
}

} // namespace detail

/// Reads guest-virtual memory with the rights of `state`. On failure `to` is unchanged. The caller has done
/// segmentation and the canonical check of first and last byte.
template <guest_memory M>
auto copy_in(M& memory, paging_state const& state, gva from, std::span<std::byte> to) -> copy_result {
    return detail::copy_virtual(memory, state, from, to);
}

/// Writes guest-virtual memory with the rights of `state`. On failure the guest's data is unchanged.
template <guest_memory M>
auto copy_out(M& memory, paging_state const& state, gva to, std::span<std::byte const> from) -> copy_result {
    return detail::copy_virtual(memory, state, to, from);
}

/// Reads guest-physical memory. bad_address, and `to` unchanged, unless all of it is readable memory.
template <guest_memory M>
auto copy_in(M& memory, gpa from, std::span<std::byte> to) -> status {
    return detail::copy_physical(memory, from, to);
}

/// Writes guest-physical memory. bad_address, and nothing written, unless all of it is writable memory.
template <guest_memory M>
auto copy_out(M& memory, gpa to, std::span<std::byte const> from) -> status {
    return detail::copy_physical(memory, to, from);
}

/// Reads one guest value, once. Aligned values of up to eight bytes are never torn.
template <typename T, guest_memory M>
    requires std::is_trivially_copyable_v<T>
[[nodiscard]] auto read_value(M& memory, gpa from) -> result<T> {
    T value{};
    auto const error = copy_in(memory, from, std::as_writable_bytes(std::span{&value, 1}));
    if (error != status::ok)
        return error;
    return value;
}

} // namespace hv
