// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/guest/load.hpp>

#include <cstdint>

/// Real-mode code without a header, started as a BIOS starts a boot sector.
namespace hv::guest::flat {

/// Where the vectors of an interrupt table without a BIOS point: an IRET at the place where BIOSes have theirs.
inline constexpr std::uint32_t dummy_handler{0xfff53};
inline constexpr std::uint16_t dummy_handler_selector{0xf000};

/// Loads at `flat_address` of segment 0, with DL the drive, the stack below the code, and all 256 vectors leading to an
/// IRET.
template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto load(M& memory, load_request const& request) -> load_result {
    constexpr std::uint64_t vectors{256};
    constexpr std::uint64_t lowest{0x600}; // vectors, BIOS data, and a little stack
    auto const at = std::uint64_t{request.flat_address};
    if (request.image.empty())
        return {.error = status::invalid_argument, .reason = "The image is empty."};
    if (at < lowest)
        return {.error = status::invalid_argument,
                .reason = "The load address lies in the interrupt vectors or BIOS data."};
    if (request.image.size() > memory_layout::reserved_first - at)
        return {.error = status::file_too_big, .reason = "The image does not fit below 640 KiB."};
    if (not request.layout.contains(0, one_mib))
        return {.error = status::out_of_range, .reason = "A real-mode guest needs 1 MiB of memory."};
    bool ok{place(memory, at, request.image)};
    for (std::uint64_t i{}; i != vectors; ++i)
        ok = ok and place_value(memory, i * 4,
                                std::uint32_t{dummy_handler_selector} << 16 |
                                    (dummy_handler - (std::uint32_t{dummy_handler_selector} << 4)));
    constexpr std::uint8_t iret{0xcf};
    ok = ok and place_value(memory, dummy_handler, iret);
    if (not ok)
        return detail::not_memory;

    auto start = real_mode_start(0, request.flat_address);
    start.reg(x86::gpr::rdx) = request.flat_drive;
    start.reg(x86::gpr::rsp) = at & ~std::uint64_t{1};
    return {.start = start};
}

} // namespace hv::guest::flat
