// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/memory/change_word.hpp>
#include <hv/memory/guest_memory.hpp>
#include <hv/memory/paging_mode.hpp>
#include <hv/x86/exception.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv {

/// Why a guest-virtual address has no translation now.
enum class translation_failure : std::uint8_t {
    none,
    page_fault, ///< the guest gets #PF with `error_code`; CR2 is the address asked for
    no_memory,  ///< a paging structure lies outside memory, or where it cannot be written: what the hardware reports as
                ///< a nested fault of the walk. There is no guest exception for it.
    contended,  ///< another processor kept changing the entries: run the guest's instruction again
};

/// Where a guest-virtual address leads.
struct translation {
    gpa address{};
    bool ok{};
    std::uint32_t error_code{};
    translation_failure failure{translation_failure::none};
};

/// What a walk does to the accessed and dirty flags.
enum class accessed_dirty : std::uint8_t {
    set,  ///< as a processor does
    keep, ///< only look: debuggers
};

namespace detail {

/// Walks that lose this many races in a row give up: a hostile processor must not hold this one forever.
inline constexpr unsigned walk_attempts{16};

template <typename Entry>
struct visited_entry {
    gpa where{};
    Entry value{};
};

template <typename Entry, guest_memory M>
[[nodiscard]] auto entry_at(M& memory, gpa where, access wanted) -> Entry* {
    return static_cast<Entry*>(static_cast<void*>(memory.at(where, wanted)));
}

[[nodiscard]] inline auto page_fault_code(paging_state const& state, access wanted) -> std::uint32_t {
    namespace error = x86::page_fault_error;
    auto const no_execute = (state.cr4 & x86::cr4::pae) != 0 and (state.efer & x86::efer::nxe) != 0;
    auto const reports_fetch = no_execute or (state.cr4 & x86::cr4::smep) != 0;
    return (includes(wanted, access::write) ? error::write : 0) | (state.cpl == 3 ? error::user : 0) |
           (includes(wanted, access::execute) and reports_fetch ? error::fetch : 0);
}

/// SDM Vol. 3A, "Determination of Access Rights". `rights` has U and W set if all entries allow it, XD if one forbids.
[[nodiscard]] inline auto allowed(paging_state const& state, std::uint64_t rights, access wanted) -> bool {
    namespace bit = x86::paging;
    auto const has = [](std::uint64_t word, std::uint64_t one) { return (word & one) != 0; };
    auto const supervisor = state.cpl != 3;
    auto const user_page = has(rights, bit::user);
    auto const data = includes(wanted, access::read) or includes(wanted, access::write);
    if (not supervisor and not user_page)
        return wanted == access::none;
    if (includes(wanted, access::execute) and
        (has(rights, bit::execute_disable) or (supervisor and user_page and has(state.cr4, x86::cr4::smep))))
        return false;
    if (data and supervisor and user_page and has(state.cr4, x86::cr4::smap) and not has(state.rflags, x86::rflags::ac))
        return false;
    return not includes(wanted, access::write) or has(rights, bit::writable) or
           (supervisor and not has(state.cr0, x86::cr0::wp));
}

/// The entries of one walk, by level from 1 on; those below a large page stay empty.
template <typename Mode>
using walk_path = std::array<visited_entry<typename Mode::entry>, Mode::levels>;

/// `way` receives the entries of a walk that succeeds, as it leaves them.
template <typename Mode, accessed_dirty Flags, guest_memory M>
[[gnu::always_inline]] inline auto walk_tables(M& memory, paging_state const& state, std::uint64_t linear,
                                               access wanted, walk_path<Mode>* way) -> translation {
    namespace bit = x86::paging;
    using entry = typename Mode::entry;
    auto const code = page_fault_code(state, wanted);
    auto const fault = [code](std::uint32_t flags) {
        return translation{.error_code = code | flags, .failure = translation_failure::page_fault};
    };
    constexpr translation no_memory{.failure = translation_failure::no_memory};

    for (unsigned attempt{}; attempt != walk_attempts; ++attempt) {
        walk_path<Mode> path{};
        auto table = Mode::root(state);
        std::uint64_t rights{bit::user | bit::writable};
        unsigned level{Mode::levels};
        while (true) {
            auto const index = linear >> Mode::shift(level) & ((1u << Mode::index_bits) - 1);
            auto const where = gpa{table + index * sizeof(entry)};
            auto const* const at = entry_at<entry>(memory, where, access::read);
            if (at == nullptr)
                return no_memory;
            auto const value = __atomic_load_n(at, __ATOMIC_RELAXED);
            if ((value & bit::present) == 0)
                return fault(0);
            auto const leaf = Mode::is_leaf(state, value, level);
            if ((value & Mode::reserved(state, value, level)) != 0)
                return fault(x86::page_fault_error::present | x86::page_fault_error::reserved);
            path[level - 1] = {where, value};
            if (Mode::has_rights(level)) {
                rights &= value | bit::execute_disable;
                rights |= value & bit::execute_disable;
            }
            if (leaf)
                break;
            table = value & Mode::table_frame(state);
            --level;
        }
        if (not allowed(state, rights, wanted))
            return fault(x86::page_fault_error::present);

        auto current = true;
        if constexpr (Flags != accessed_dirty::keep)
            for (unsigned used{Mode::levels}; used >= level and current; --used) {
                auto& seen = path[used - 1];
                auto const dirty = used == level and includes(wanted, access::write);
                auto const marked = static_cast<entry>(seen.value | bit::accessed | (dirty ? bit::dirty : 0));
                if (not Mode::has_rights(used) or marked == seen.value)
                    continue;
                auto* const at = entry_at<entry>(memory, seen.where, access::write);
                if (at == nullptr)
                    return no_memory;
                current = replace_word<M>(at, seen.value, marked);
                seen.value = marked;
            }
        if (current) {
            if (way != nullptr)
                *way = path;
            auto const offset = linear & ((1ull << Mode::shift(level)) - 1);
            return {.address = gpa{Mode::page_frame(state, path[level - 1].value, level) | offset}, .ok = true};
        }
    }
    return {.failure = translation_failure::contended};
}

template <typename Mode, accessed_dirty Flags, guest_memory M>
auto walk(M& memory, paging_state const& state, std::uint64_t linear, access wanted, walk_path<Mode>* way = nullptr)
    -> translation {
    return walk_tables<Mode, Flags>(memory, state, linear, wanted, way);
}
/// Of 32-bit guests: small rather than fast.
template <typename Mode, accessed_dirty Flags, guest_memory M>
[[gnu::cold]] auto walk_of_32_bits(M& memory, paging_state const& state, std::uint64_t linear, access wanted)
    -> translation {
    return walk_tables<Mode, Flags>(memory, state, linear, wanted, nullptr);
}

} // namespace detail

/// Translates a guest-virtual address as the processor in this state would: access rights, reserved bits, accessed and
/// dirty flags. A walk that faults writes nothing. The caller has done segmentation and the canonical check; the final
/// address may lie outside memory (a device). Implicit supervisor accesses: pass cpl 0 and RFLAGS.AC clear.
/// `access::none` asks for no right, only for a mapping. SDM Vol. 3A, "Paging".
template <accessed_dirty Flags = accessed_dirty::set, guest_memory M>
[[nodiscard]] auto translate(M& memory, paging_state const& state, gva address, access wanted) -> translation {
    auto const long_mode = (state.efer & x86::efer::lma) != 0;
    auto const linear = long_mode ? address.value : address.value & 0xffff'ffff;
    if ((state.cr0 & x86::cr0::pg) == 0)
        return {.address = gpa{linear}, .ok = true};
    if (long_mode)
        return detail::walk<paging_4_level, Flags>(memory, state, linear, wanted);
    if ((state.cr4 & x86::cr4::pae) != 0)
        return detail::walk_of_32_bits<paging_pae, Flags>(memory, state, linear, wanted);
    return detail::walk_of_32_bits<paging_32_bit, Flags>(memory, state, linear, wanted);
}

/// Like `translate`, but leaves the guest as it is.
template <guest_memory M>
[[nodiscard]] auto peek(M& memory, paging_state const& state, gva address, access wanted) -> translation {
    return translate<accessed_dirty::keep>(memory, state, address, wanted);
}

} // namespace hv
