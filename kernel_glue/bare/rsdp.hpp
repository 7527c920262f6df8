// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "boot_information.hpp"
#include "physical_memory.hpp"

#include <cstdint>

/// ACPI Specification, "Root System Description Pointer (RSDP)".
namespace hv::bare {

/// The root table that a valid RSDP at `at` names, or none.
[[nodiscard, gnu::cold]] auto read_rsdp(physical_memory auto const& memory, hpa at) -> acpi_root {
    constexpr std::uint64_t signature{0x2052545020445352}; // "RSD PTR "
    constexpr std::uint32_t size_of_revision_0{20}, size_of_revision_2{36};
    if (load<std::uint64_t>(memory, at) != signature or not sums_to_zero(memory, at, size_of_revision_0))
        return {};
    if (load<std::uint8_t>(memory, at + 15) >= 2) {
        auto const length = load<std::uint32_t>(memory, at + 20);
        auto const xsdt = load<std::uint64_t>(memory, at + 24);
        if (length >= size_of_revision_2 and length <= page_size and xsdt != 0 and sums_to_zero(memory, at, length))
            return {.table = hpa{xsdt}, .wide = true};
    }
    return {.table = hpa{load<std::uint32_t>(memory, at + 16)}, .wide = false};
}

/// Looks where a BIOS puts the RSDP: the first KiB of its extended data area, and below 1 MiB.
[[nodiscard]] auto find_rsdp(physical_memory auto const& memory) -> acpi_root {
    auto const search = [&](std::uint64_t first, std::uint64_t end) -> acpi_root {
        for (auto at = first; at != end; at += 16)
            if (auto const root = read_rsdp(memory, hpa{at}))
                return root;
        return {};
    };
    auto const extended_data_area = std::uint64_t{load<std::uint16_t>(memory, hpa{0x40e})} << 4;
    if (auto const root = search(extended_data_area, extended_data_area + 1024))
        return root;
    return search(0xe0000, 0x100000);
}

} // namespace hv::bare
