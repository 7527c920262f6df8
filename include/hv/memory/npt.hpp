// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/memory/nested_leaf.hpp>
#include <hv/x86/paging.hpp>

#include <cstdint>

namespace hv {

/// Entries of AMD's nested page tables: those of long mode, walked as user accesses, so the user bit is set everywhere.
/// NX counts only while the host's EFER.NXE is set, and the memory type is the entry of the host's PAT: 0 (WB) or 3
/// (UC), which PAT has after reset and every kernel keeps. APM Vol. 2, "Nested Paging".
struct npt_format {
    static constexpr std::uint64_t accessed{x86::paging::accessed};
    static constexpr std::uint64_t dirty{x86::paging::dirty};

    [[nodiscard]] static constexpr auto table(hpa next) -> std::uint64_t {
        return next.value | x86::paging::present | x86::paging::writable | x86::paging::user;
    }
    /// Any access implies read: the format has no entry without it.
    [[nodiscard]] static constexpr auto leaf(hpa page, unsigned level, access allowed, memory_type type)
        -> std::uint64_t {
        namespace bit = x86::paging;
        return page.value | bit::present | bit::user | (includes(allowed, access::write) ? bit::writable : 0) |
               (includes(allowed, access::execute) ? 0 : bit::execute_disable) | (level > 1 ? bit::page_size : 0) |
               (type == memory_type::uncacheable ? bit::cache_disable | bit::write_through : 0);
    }
    [[nodiscard]] static constexpr auto is_present(std::uint64_t e) -> bool { return (e & x86::paging::present) != 0; }
    [[nodiscard]] static constexpr auto is_leaf(std::uint64_t e, unsigned level) -> bool {
        return level == 1 or (e & x86::paging::page_size) != 0;
    }
    [[nodiscard]] static constexpr auto address(std::uint64_t e) -> hpa { return hpa{e & x86::paging::bits(51, 12)}; }
    [[nodiscard]] static constexpr auto allowed(std::uint64_t e) -> access {
        return access::read | ((e & x86::paging::writable) != 0 ? access::write : access::none) |
               ((e & x86::paging::execute_disable) == 0 ? access::execute : access::none);
    }
    [[nodiscard]] static constexpr auto type(std::uint64_t e) -> memory_type {
        return (e & x86::paging::cache_disable) != 0 ? memory_type::uncacheable : memory_type::write_back;
    }
};

static_assert(npt_format::table(hpa{0x1000}) == 0x1007);
static_assert(npt_format::leaf(hpa{0x1000}, 1, access::read | access::write | access::execute,
                               memory_type::write_back) == 0x1007);
static_assert(npt_format::leaf(hpa{0x20'0000}, 2, access::read, memory_type::uncacheable) == 0x8000'0000'0020'009d);
static_assert(npt_format::accessed == 0x20 and npt_format::dirty == 0x40);

} // namespace hv
