// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "boot_information.hpp"
#include "multiboot1.hpp"
#include "physical_memory.hpp"
#include "rsdp.hpp"

#include <cstdint>

/// Multiboot2 Specification version 2.0, "Boot information format".
namespace hv::bare::multiboot2 {

inline constexpr std::uint32_t magic{0x36d76289};

enum class tag : std::uint32_t {
    end = 0,
    command_line = 1,
    loader_name = 2,
    module = 3,
    memory_map = 6,
    old_rsdp = 14,
    new_rsdp = 15,
    efi_memory_map = 17,
};

/// UEFI Specification, "GetMemoryMap()". The loader has left boot services, so their memory is free.
[[nodiscard]] constexpr auto kind_of_efi(std::uint32_t type, std::uint64_t attributes) -> memory_kind {
    constexpr std::uint64_t write_back{1u << 3};
    switch (type) {
    case 1: // loader code and data
    case 2:
    case 3: // boot services code and data
    case 4:
    case 7: // conventional
        return (attributes & write_back) != 0 ? memory_kind::usable : memory_kind::reserved;
    case 8:
        return memory_kind::unusable;
    case 9:
        return memory_kind::acpi_reclaimable;
    case 10:
        return memory_kind::acpi_storage;
    default:
        return memory_kind::reserved;
    }
}

namespace detail {

[[gnu::cold]] void read_memory_map(boot_information& boot, physical_memory auto const& memory, hpa at,
                                   std::uint32_t size) {
    auto const stride = load<std::uint32_t>(memory, at + 8);
    if (stride < 24)
        return;
    for (std::uint64_t offset{16}; offset + stride <= size; offset += stride)
        boot.add_memory({.start = hpa{load<std::uint64_t>(memory, at + offset)},
                         .size = load<std::uint64_t>(memory, at + offset + 8),
                         .kind = multiboot1::kind_of(load<std::uint32_t>(memory, at + offset + 16))});
}

[[gnu::cold]] void read_efi_memory_map(boot_information& boot, physical_memory auto const& memory, hpa at,
                                       std::uint32_t size) {
    constexpr std::uint64_t most_pages{UINT64_MAX >> page_shift};
    auto const stride = load<std::uint32_t>(memory, at + 8);
    if (stride < 40)
        return;
    boot.forget_memory(); // better than the basic map: it knows what boot services no longer need
    for (std::uint64_t offset{16}; offset + stride <= size; offset += stride) {
        auto const pages = load<std::uint64_t>(memory, at + offset + 24);
        if (pages <= most_pages)
            boot.add_memory({.start = hpa{load<std::uint64_t>(memory, at + offset + 8)},
                             .size = pages << page_shift,
                             .kind = kind_of_efi(load<std::uint32_t>(memory, at + offset),
                                                 load<std::uint64_t>(memory, at + offset + 32))});
    }
}

} // namespace detail

/// Reads the tags of the information structure at `at` into `boot`.
[[gnu::cold]] void read(boot_information& boot, physical_memory auto const& memory, hpa at) {
    boot.protocol = boot_protocol::multiboot2;
    auto const end = at + load<std::uint32_t>(memory, at);
    bool has_efi_map{false};
    for (auto here = at + 8; here < end and end - here >= 8;) {
        auto const type = static_cast<tag>(load<std::uint32_t>(memory, here));
        auto const size = load<std::uint32_t>(memory, here + 4);
        if (type == tag::end or size < 8 or size > end - here)
            return;
        switch (type) {
        case tag::command_line:
            boot.command_line = boot.keep(load_text(memory, here + 8, size - 8));
            break;
        case tag::loader_name:
            boot.loader = boot.keep(load_text(memory, here + 8, size - 8));
            break;
        case tag::module:
            if (size > 16)
                boot.add_module(hpa{load<std::uint32_t>(memory, here + 8)}, hpa{load<std::uint32_t>(memory, here + 12)},
                                load_text(memory, here + 16, size - 16));
            break;
        case tag::memory_map:
            if (not has_efi_map)
                detail::read_memory_map(boot, memory, here, size);
            break;
        case tag::efi_memory_map:
            has_efi_map = true;
            detail::read_efi_memory_map(boot, memory, here, size);
            break;
        case tag::old_rsdp:
            if (not boot.acpi)
                boot.acpi = read_rsdp(memory, here + 8);
            break;
        case tag::new_rsdp:
            if (auto const root = read_rsdp(memory, here + 8))
                boot.acpi = root;
            break;
        default:
            break;
        }
        here = here + ((size + std::uint64_t{7}) & ~std::uint64_t{7});
    }
}

} // namespace hv::bare::multiboot2
