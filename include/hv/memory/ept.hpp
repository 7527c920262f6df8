// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/memory/nested_leaf.hpp>
#include <hv/x86/paging.hpp>

#include <cstdint>

namespace hv {

/// Entries of Intel's extended page tables. Write-back pages ignore the guest's PAT, so that memory has one
/// cacheability whatever a guest asks for. Accessed and dirty flags count only while the pointer enables them. SDM Vol.
/// 3C, "The Extended Page Table Mechanism (EPT)".
struct ept_format {
    static constexpr std::uint64_t read{1u << 0};
    static constexpr std::uint64_t write{1u << 1};
    static constexpr std::uint64_t execute{1u << 2};
    static constexpr unsigned type_shift{3};
    static constexpr std::uint64_t ignore_pat{1u << 6};
    static constexpr std::uint64_t large{1u << 7};
    static constexpr std::uint64_t accessed{1u << 8};
    static constexpr std::uint64_t dirty{1u << 9};

    [[nodiscard]] static constexpr auto table(hpa next) -> std::uint64_t { return next.value | read | write | execute; }
    /// Any access implies read: an entry that allows writing but not reading is a misconfiguration.
    [[nodiscard]] static constexpr auto leaf(hpa page, unsigned level, access allowed, memory_type type)
        -> std::uint64_t {
        return page.value | read | (includes(allowed, access::write) ? write : 0) |
               (includes(allowed, access::execute) ? execute : 0) |
               std::uint64_t{static_cast<std::uint8_t>(type)} << type_shift |
               (type == memory_type::write_back ? ignore_pat : 0) | (level > 1 ? large : 0);
    }
    [[nodiscard]] static constexpr auto is_present(std::uint64_t e) -> bool {
        return (e & (read | write | execute)) != 0;
    }
    [[nodiscard]] static constexpr auto is_leaf(std::uint64_t e, unsigned level) -> bool {
        return level == 1 or (e & large) != 0;
    }
    [[nodiscard]] static constexpr auto address(std::uint64_t e) -> hpa { return hpa{e & x86::paging::bits(51, 12)}; }
    [[nodiscard]] static constexpr auto allowed(std::uint64_t e) -> access {
        return static_cast<access>(e & (read | write | execute)); // same order of bits
    }
    [[nodiscard]] static constexpr auto type(std::uint64_t e) -> memory_type {
        return static_cast<memory_type>(e >> type_shift & 7);
    }

    /// The VMCS field that names the tables: walks of four levels, through write-back memory.
    /// SDM Vol. 3C, "Extended-Page-Table Pointer (EPTP)".
    [[nodiscard]] static constexpr auto pointer(hpa root, bool accessed_and_dirty) -> std::uint64_t {
        return root.value | 6 | (4 - 1) << 3 | (accessed_and_dirty ? 1u << 6 : 0u);
    }
};

static_assert(ept_format::table(hpa{0x1000}) == 0x1007);
static_assert(ept_format::leaf(hpa{0x1000}, 1, access::read | access::write | access::execute,
                               memory_type::write_back) == 0x1077);
static_assert(ept_format::leaf(hpa{0x20'0000}, 2, access::write, memory_type::uncacheable) == 0x20'0083);
static_assert(ept_format::allowed(5) == (access::read | access::execute));
static_assert(ept_format::pointer(hpa{0x1000}, false) == 0x101e and ept_format::pointer(hpa{0x1000}, true) == 0x105e);

} // namespace hv
