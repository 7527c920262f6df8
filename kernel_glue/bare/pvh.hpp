// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "boot_information.hpp"
#include "multiboot1.hpp"
#include "physical_memory.hpp"
#include "rsdp.hpp"

#include <cstdint>

/// Xen's x86/HVM direct boot ABI, "struct hvm_start_info".
namespace hv::bare::pvh {

inline constexpr std::uint32_t magic{0x336ec578};

/// Reads the start information at `at` into `boot`; does nothing if it is not one.
[[gnu::cold]] void read(boot_information& boot, physical_memory auto const& memory, hpa at) {
    constexpr std::uint64_t longest_text{4096};
    auto const half = [&](std::uint64_t offset) { return load<std::uint32_t>(memory, at + offset); };
    auto const word = [&](hpa from, std::uint64_t offset) { return load<std::uint64_t>(memory, from + offset); };
    auto const text = [&](std::uint64_t address) { return load_text(memory, hpa{address}, longest_text); };
    if (half(0) != magic)
        return;

    boot.protocol = boot_protocol::pvh;
    boot.command_line = boot.keep(text(word(at, 24)));
    boot.acpi = read_rsdp(memory, hpa{word(at, 32)});
    auto const modules = half(12);
    for (std::uint32_t n{0}; n != modules and n != multiboot1::most_entries; ++n) {
        auto const entry = hpa{word(at, 16)} + n * std::uint64_t{32};
        auto const start = hpa{word(entry, 0)};
        boot.add_module(start, start + word(entry, 8), text(word(entry, 16)));
    }
    if (half(4) == 0) // version 0 has no memory map
        return;
    auto const extents = half(48);
    for (std::uint32_t n{0}; n != extents and n != multiboot1::most_entries; ++n) {
        auto const entry = hpa{word(at, 40)} + n * std::uint64_t{24};
        boot.add_memory({.start = hpa{word(entry, 0)},
                         .size = word(entry, 8),
                         .kind = multiboot1::kind_of(load<std::uint32_t>(memory, entry + 16))});
    }
}

} // namespace hv::bare::pvh
