// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "boot_information.hpp"
#include "physical_memory.hpp"

#include <cstdint>
#include <string_view>

/// Multiboot Specification version 0.6.96, "Boot information format".
namespace hv::bare::multiboot1 {

inline constexpr std::uint32_t magic{0x2badb002};

/// No loader passes more modules than this; a count beyond it is damage.
inline constexpr std::uint32_t most_entries{1024};

/// Types of memory maps that descend from the BIOS call E820; PVH and Multiboot 2 share them.
[[nodiscard]] constexpr auto kind_of(std::uint32_t type) -> memory_kind {
    switch (type) {
    case 1:
        return memory_kind::usable;
    case 3:
        return memory_kind::acpi_reclaimable;
    case 4:
        return memory_kind::acpi_storage;
    case 5:
        return memory_kind::unusable;
    default:
        return memory_kind::reserved;
    }
}

/// The command line without its first word.
[[nodiscard]] constexpr auto without_first_word(std::string_view line) -> std::string_view {
    auto const end = line.find(' ');
    if (end == std::string_view::npos)
        return {};
    line.remove_prefix(end);
    auto const next = line.find_first_not_of(' ');
    line.remove_prefix(next == std::string_view::npos ? line.size() : next);
    return line;
}

/// Reads the information structure at `at` into `boot`. What the loader did not provide stays empty.
[[gnu::cold]] void read(boot_information& boot, physical_memory auto const& memory, hpa at) {
    constexpr std::uint32_t has_memory_size{1u << 0}, has_command_line{1u << 2}, has_modules{1u << 3},
        has_memory_map{1u << 6}, has_loader_name{1u << 9};
    constexpr std::uint64_t longest_text{4096};
    auto const word = [&](std::uint64_t offset) { return load<std::uint32_t>(memory, at + offset); };
    auto const text = [&](std::uint32_t address) { return load_text(memory, hpa{address}, longest_text); };

    boot.protocol = boot_protocol::multiboot1;
    auto const flags = word(0);
    if ((flags & has_loader_name) != 0)
        boot.loader = boot.keep(text(word(64)));
    if ((flags & has_command_line) != 0)
        // QEMU, iPXE and the old GRUB begin it with the name of the image; GRUB 2 does not.
        boot.command_line =
            boot.keep(boot.loader.starts_with("GRUB 2") ? text(word(16)) : without_first_word(text(word(16))));
    if ((flags & has_modules) != 0) {
        auto const count = word(20);
        for (std::uint32_t n{0}; n != count and n != most_entries; ++n) {
            auto const entry = hpa{word(24)} + n * std::uint64_t{16};
            boot.add_module(hpa{load<std::uint32_t>(memory, entry)}, hpa{load<std::uint32_t>(memory, entry + 4)},
                            text(load<std::uint32_t>(memory, entry + 8)));
        }
    }
    if ((flags & has_memory_map) != 0) {
        // Each entry begins with the size of what follows.
        hpa entry{word(48)};
        auto const end = entry + word(44);
        while (entry < end and end - entry >= 24) {
            auto const size = load<std::uint32_t>(memory, entry);
            if (size < 20)
                break;
            boot.add_memory({.start = hpa{load<std::uint64_t>(memory, entry + 4)},
                             .size = load<std::uint64_t>(memory, entry + 12),
                             .kind = kind_of(load<std::uint32_t>(memory, entry + 20))});
            entry = entry + 4 + size;
        }
    } else if ((flags & has_memory_size) != 0) {
        boot.add_memory({.start = hpa{0}, .size = word(4) * std::uint64_t{1024}, .kind = memory_kind::usable});
        boot.add_memory({.start = hpa{0x100000}, .size = word(8) * std::uint64_t{1024}, .kind = memory_kind::usable});
    }
}

} // namespace hv::bare::multiboot1
