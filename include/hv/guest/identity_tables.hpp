// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/guest/bytes.hpp>

#include <cstdint>

namespace hv::guest {

/// Bytes that write_identity_tables fills: a PML4, a page-directory-pointer table, and four page directories.
inline constexpr std::uint64_t identity_tables_size{6 * page_size};

/// Builds 4-level tables at `address` that map the first 4 GiB to themselves with 2 MiB pages. False if there is no
/// memory. SDM Vol. 3A, "4-Level Paging and 5-Level Paging".
template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto write_identity_tables(M& memory, std::uint64_t address) -> bool {
    constexpr std::uint64_t present_writable{3};
    constexpr std::uint64_t large{1u << 7};
    constexpr std::uint64_t large_page_size{1u << 21};
    auto const pointers = address + page_size;
    auto const directories = address + 2 * page_size;

    bool ok{clear(memory, address, identity_tables_size) and place_value(memory, address, pointers | present_writable)};
    for (std::uint64_t i{}; i != 4; ++i)
        ok = ok and place_value(memory, pointers + i * 8, (directories + i * page_size) | present_writable);
    for (std::uint64_t i{}; i != 4 * 512; ++i)
        ok = ok and place_value(memory, directories + i * 8, i * large_page_size | present_writable | large);
    return ok;
}

} // namespace hv::guest
