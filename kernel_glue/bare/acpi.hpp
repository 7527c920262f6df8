// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "boot_information.hpp"
#include "physical_memory.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

/// ACPI Specification, "ACPI System Description Tables".
namespace hv::bare {

/// What the ACPI tables say about the board: the few facts that this host needs.
struct board {
    struct io_apic {
        hpa address{};
        std::uint32_t first_interrupt{}; ///< global system interrupt of its pin 0
    };
    /// How an ISA interrupt arrives at the I/O APICs.
    struct isa_interrupt {
        std::uint32_t global{};
        bool active_low{};
        bool level{};
    };

    std::uint16_t pm_timer_port{}; ///< 0: none
    bool pm_timer_is_32_bits_wide{};
    hpa local_apic{0xfee00000};
    std::array<io_apic, 8> io_apics{};
    std::size_t io_apic_count{0};
    std::array<isa_interrupt, 16> isa{[] {
        std::array<isa_interrupt, 16> identity{};
        for (std::uint8_t n{0}; n != identity.size(); ++n)
            identity[n].global = n;
        return identity;
    }()};
    std::array<std::uint32_t, 64> processors{}; ///< APIC ids of those that firmware enabled, as far as there is room
    std::size_t processor_count{0};             ///< of them
    hpa hpet{};                                 ///< 0: none
};

namespace detail {

constexpr auto signature(char const (&name)[5]) -> std::uint32_t {
    std::uint32_t value{0};
    for (unsigned i{0}; i != 4; ++i)
        value |= static_cast<std::uint32_t>(static_cast<unsigned char>(name[i])) << 8 * i;
    return value;
}

void read_fadt(board& b, physical_memory auto const& memory, hpa at, std::uint32_t size) {
    constexpr std::uint32_t timer_is_32_bits_wide{1u << 8};
    constexpr std::uint8_t io_space{1};
    if (size < 116)
        return;
    b.pm_timer_is_32_bits_wide = (load<std::uint32_t>(memory, at + 112) & timer_is_32_bits_wide) != 0;
    auto port = std::uint64_t{load<std::uint32_t>(memory, at + 76)};
    if (size >= 220 and load<std::uint8_t>(memory, at + 208) == io_space)
        if (auto const extended = load<std::uint64_t>(memory, at + 212); extended != 0)
            port = extended;
    if (port <= UINT16_MAX and load<std::uint8_t>(memory, at + 91) == 4)
        b.pm_timer_port = static_cast<std::uint16_t>(port);
}

/// `flags` are a MADT entry's: bit 0 says that the processor is enabled.
constexpr void add_processor(board& b, std::uint32_t apic_id, std::uint32_t flags) {
    if ((flags & 1) != 0 and b.processor_count != b.processors.size())
        b.processors[b.processor_count++] = apic_id;
}

[[gnu::cold]] void read_madt(board& b, physical_memory auto const& memory, hpa at, std::uint32_t size) {
    enum : std::uint8_t { local_apic, io_apic, source_override, local_apic_override = 5, local_x2apic = 9 };
    if (size < 44)
        return;
    b.local_apic = hpa{load<std::uint32_t>(memory, at + 36)};
    for (std::uint32_t offset{44}; size - offset >= 2;) {
        auto const entry = at + offset;
        auto const length = load<std::uint8_t>(memory, entry + 1);
        if (length < 2 or length > size - offset)
            return;
        switch (load<std::uint8_t>(memory, entry)) {
        case local_apic:
            if (length >= 8)
                add_processor(b, load<std::uint8_t>(memory, entry + 3), load<std::uint32_t>(memory, entry + 4));
            break;
        case local_x2apic:
            if (length >= 16)
                add_processor(b, load<std::uint32_t>(memory, entry + 4), load<std::uint32_t>(memory, entry + 8));
            break;
        case io_apic:
            if (length >= 12 and b.io_apic_count != b.io_apics.size())
                b.io_apics[b.io_apic_count++] = {.address = hpa{load<std::uint32_t>(memory, entry + 4)},
                                                 .first_interrupt = load<std::uint32_t>(memory, entry + 8)};
            break;
        case source_override:
            if (auto const source = load<std::uint8_t>(memory, entry + 3); length >= 10 and source < b.isa.size()) {
                auto const flags = load<std::uint16_t>(memory, entry + 8);
                b.isa[source] = {.global = load<std::uint32_t>(memory, entry + 4),
                                 .active_low = (flags & 3) == 3,
                                 .level = (flags >> 2 & 3) == 3};
            }
            break;
        case local_apic_override:
            if (length >= 12)
                b.local_apic = hpa{load<std::uint64_t>(memory, entry + 4)};
            break;
        default:
            break;
        }
        offset += length;
    }
}

} // namespace detail

/// Follows the root table. Tables with a wrong checksum are passed over; what none of them says keeps its default.
[[nodiscard, gnu::cold]] auto read_board(physical_memory auto const& memory, acpi_root root) -> board {
    constexpr std::uint32_t header_size{36};
    constexpr std::uint32_t largest_table{1u << 20}; // of those read here
    board b{};
    auto const valid_size = [&](hpa at) -> std::uint32_t {
        auto const size = load<std::uint32_t>(memory, at + 4);
        return size >= header_size and size <= largest_table and sums_to_zero(memory, at, size) ? size : 0;
    };
    if (not root)
        return b;
    auto const root_size = valid_size(root.table);
    auto const stride = root.wide ? 8u : 4u;
    for (std::uint32_t offset{header_size}; offset + stride <= root_size; offset += stride) {
        auto const entry = root.table + offset;
        hpa const table{root.wide ? load<std::uint64_t>(memory, entry) : load<std::uint32_t>(memory, entry)};
        auto const size = valid_size(table);
        if (size == 0)
            continue;
        switch (load<std::uint32_t>(memory, table)) {
        case detail::signature("FACP"):
            detail::read_fadt(b, memory, table, size);
            break;
        case detail::signature("APIC"):
            detail::read_madt(b, memory, table, size);
            break;
        case detail::signature("HPET"):
            if (size >= 56)
                b.hpet = hpa{load<std::uint64_t>(memory, table + 44)};
            break;
        default:
            break;
        }
    }
    return b;
}

} // namespace hv::bare
