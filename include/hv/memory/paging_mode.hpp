// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/paging.hpp>

#include <cstdint>

namespace hv {

/// The registers that decide how a guest-virtual address is translated, and what its CPUID promises.
struct paging_state {
    std::uint64_t cr0{};
    std::uint64_t cr3{};
    std::uint64_t cr4{};
    std::uint64_t efer{};
    std::uint64_t rflags{};
    std::uint8_t cpl{};
    std::uint8_t physical_bits{40}; ///< MAXPHYADDR
    bool gigabyte_pages{true};      ///< 1 GiB pages: otherwise PS is reserved in a PDPTE
};

/// Long mode: four levels of 512 entries. SDM Vol. 3A, "4-Level Paging and 5-Level Paging".
struct paging_4_level {
    using entry = std::uint64_t;
    static constexpr unsigned levels{4};
    static constexpr unsigned index_bits{9};

    [[nodiscard]] static constexpr auto shift(unsigned level) -> unsigned {
        return page_shift + index_bits * (level - 1);
    }
    [[nodiscard]] static constexpr auto has_rights(unsigned) -> bool { return true; }
    [[nodiscard]] static constexpr auto root(paging_state const& s) -> std::uint64_t {
        return s.cr3 & x86::paging::frame(s.physical_bits);
    }
    [[nodiscard]] static constexpr auto table_frame(paging_state const& s) -> std::uint64_t {
        return x86::paging::frame(s.physical_bits);
    }
    [[nodiscard]] static constexpr auto is_leaf(paging_state const&, entry e, unsigned level) -> bool {
        return level == 1 or (level < levels and (e & x86::paging::page_size) != 0);
    }
    [[nodiscard]] static constexpr auto page_frame(paging_state const& s, entry e, unsigned level) -> std::uint64_t {
        return e & x86::paging::frame(s.physical_bits) & (~0ull << shift(level));
    }
    /// Bits that must be zero in this present entry.
    [[nodiscard]] static constexpr auto reserved(paging_state const& s, entry e, unsigned level) -> std::uint64_t {
        namespace bit = x86::paging;
        auto mask = bit::bits(51, 12) & ~bit::frame(s.physical_bits);
        if ((s.efer & x86::efer::nxe) == 0)
            mask |= bit::execute_disable;
        if (level == 4 or (level == 3 and not s.gigabyte_pages))
            mask |= bit::page_size;
        else if (level > 1 and is_leaf(s, e, level))
            mask |= bit::bits(shift(level) - 1, 13); // bit 12 is PAT
        return mask;
    }
};

/// PAE: four PDPTEs without access rights, then two levels of 512 entries. A processor may hold the PDPTEs since the
/// last write of CR3; here they are read from memory, which is what AMD processors do under nested paging.
/// SDM Vol. 3A, "PAE Paging"; APM Vol. 2, "Legacy PAE Mode".
struct paging_pae {
    using entry = std::uint64_t;
    static constexpr unsigned levels{3};
    static constexpr unsigned index_bits{9};

    [[nodiscard]] static constexpr auto shift(unsigned level) -> unsigned { return paging_4_level::shift(level); }
    [[nodiscard]] static constexpr auto has_rights(unsigned level) -> bool { return level != 3; }
    [[nodiscard]] static constexpr auto root(paging_state const& s) -> std::uint64_t {
        return s.cr3 & x86::paging::bits(31, 5);
    }
    [[nodiscard]] static constexpr auto table_frame(paging_state const& s) -> std::uint64_t {
        return x86::paging::frame(s.physical_bits);
    }
    [[nodiscard]] static constexpr auto is_leaf(paging_state const&, entry e, unsigned level) -> bool {
        return level == 1 or (level == 2 and (e & x86::paging::page_size) != 0);
    }
    [[nodiscard]] static constexpr auto page_frame(paging_state const& s, entry e, unsigned level) -> std::uint64_t {
        return paging_4_level::page_frame(s, e, level);
    }
    [[nodiscard]] static constexpr auto reserved(paging_state const& s, entry e, unsigned level) -> std::uint64_t {
        namespace bit = x86::paging;
        auto const address = bit::bits(62, 12) & ~bit::frame(s.physical_bits); // 62:52 have no software bits here
        if (level == 3) // bit 5 is reserved too, but QEMU's TCG sets it, as an accessed flag
            return address | bit::execute_disable | bit::bits(8, 6) | bit::bits(2, 1);
        return address | ((s.efer & x86::efer::nxe) == 0 ? bit::execute_disable : 0) |
               (level == 2 and is_leaf(s, e, level) ? bit::bits(20, 13) : 0);
    }
};

/// Two levels of 1024 entries, with 4 MiB pages while CR4.PSE is set. Such a page may lie above 4 GiB (PSE-36): bits
/// 20:13 of its entry are address bits 39:32. SDM Vol. 3A, "32-Bit Paging".
struct paging_32_bit {
    using entry = std::uint32_t;
    static constexpr unsigned levels{2};
    static constexpr unsigned index_bits{10};

    [[nodiscard]] static constexpr auto shift(unsigned level) -> unsigned {
        return page_shift + index_bits * (level - 1);
    }
    [[nodiscard]] static constexpr auto has_rights(unsigned) -> bool { return true; }
    [[nodiscard]] static constexpr auto root(paging_state const& s) -> std::uint64_t {
        return s.cr3 & x86::paging::bits(31, 12);
    }
    [[nodiscard]] static constexpr auto table_frame(paging_state const&) -> std::uint64_t {
        return x86::paging::bits(31, 12);
    }
    [[nodiscard]] static constexpr auto is_leaf(paging_state const& s, entry e, unsigned level) -> bool {
        return level == 1 or ((e & x86::paging::page_size) != 0 and (s.cr4 & x86::cr4::pse) != 0);
    }
    [[nodiscard]] static constexpr auto page_frame(paging_state const&, entry e, unsigned level) -> std::uint64_t {
        if (level == 1)
            return e & x86::paging::bits(31, 12);
        return (e & x86::paging::bits(31, 22)) | (e & x86::paging::bits(20, 13)) << 19;
    }
    [[nodiscard]] static constexpr auto reserved(paging_state const& s, entry e, unsigned level) -> std::uint64_t {
        if (level == 1 or not is_leaf(s, e, level))
            return 0;
        unsigned const high_bits = s.physical_bits > 40 ? 8 : s.physical_bits > 32 ? s.physical_bits - 32u : 0u;
        return x86::paging::bits(21, 13 + high_bits);
    }
};

} // namespace hv
