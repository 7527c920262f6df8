// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/status.hpp>
#include <hv/topology.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/cpuid.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hv {

/// One line of a CPUID profile: of what the host says, the `allow` bits pass, then the `set` bits are added. Leaves
/// that no line names read as zeros.
struct cpuid_rule {
    std::uint32_t function{};
    std::uint32_t index{};
    bool match_index{}; ///< the line is for this subleaf only
    x86::cpuid_result allow{};
    x86::cpuid_result set{};
};

/// One leaf as a guest sees it, in the shape of the reference interface's vcpu_cpuid_entry.
struct cpuid_entry {
    std::uint32_t function{};
    std::uint32_t index{};
    bool match_index{};
    bool moves{}; ///< parts of it are the guest's present state; `assign` finds out
    x86::cpuid_result values{};
    std::uint32_t at_once{}; ///< `function`, if the values answer it whatever the index; `assign` finds out
};

/// Leaves that hold state which moves: whether the APIC is on, CR4.OSXSAVE (1); sizes by XCR0 (Dh); the
/// frequencies of the guest's clocks (15h, 16h, 4000_0010h). A profile may pass all that the host says; that state is
/// the guest's own nevertheless.
[[nodiscard]] constexpr auto has_moving_parts(std::uint32_t function) -> bool {
    constexpr std::uint32_t basic{1u << 0x1 | 1u << 0x7 | 1u << 0xd | 1u << 0x15 | 1u << 0x16};
    return function < 32 ? (basic >> function & 1) != 0 : function == 0x4000'0010;
}

/// The leaves of one virtual processor, sorted by function and index.
class cpuid_table {
  public:
    static constexpr std::size_t capacity{48};

    /// Replaces all leaves. Unsorted or repeated entries are the caller's mistake (invalid_argument), more than fit
    /// too_big.
    constexpr auto assign(std::span<cpuid_entry const> entries) -> status {
        if (entries.size() > capacity)
            return status::too_big;
        for (std::size_t i{1}; i < entries.size(); ++i)
            if (not before(entries[i - 1], entries[i]))
                return status::invalid_argument;
        for (std::size_t i{0}; i != entries.size(); ++i)
            store(i, entries[i]);
        count_ = entries.size();
        first_.fill(absent);
        for (std::size_t i{count_}; i != 0; --i)
            if (auto const function = entries_[i - 1].function; number_of(function) < numbers)
                first_[place_of(function)] = static_cast<std::uint8_t>(i - 1);
        return status::ok;
    }

    [[nodiscard]] constexpr auto entries() const -> std::span<cpuid_entry const> { return {entries_.data(), count_}; }

    /// The only leaf that may answer this function at once: it does if its `at_once` is the function.
    [[nodiscard, gnu::always_inline]] constexpr auto candidate(std::uint32_t function) const -> cpuid_entry const& {
        return entries_[first_[place_of(function)]];
    }

    /// What CPUID answers; null for a leaf that does not exist and reads as zeros.
    [[nodiscard, gnu::always_inline]] constexpr auto find(std::uint32_t function, std::uint32_t index) const
        -> cpuid_entry const* {
        for (auto i = first_of(function); i < count_ and entries_[i].function == function; ++i)
            if (auto const& e = entries_[i]; not e.match_index or e.index == index)
                return &e;
        return nullptr;
    }

    /// The values of a leaf, to be changed in place; null if it does not exist.
    [[nodiscard]] constexpr auto find(std::uint32_t function, std::uint32_t index) -> cpuid_entry* {
        return const_cast<cpuid_entry*>(static_cast<cpuid_table const*>(this)->find(function, index));
    }

  private:
    [[nodiscard]] static constexpr auto before(cpuid_entry const& a, cpuid_entry const& b) -> bool {
        if (a.function != b.function)
            return a.function < b.function;
        return a.match_index and b.match_index and a.index < b.index;
    }

    constexpr void store(std::size_t at, cpuid_entry const& entry) {
        entries_[at] = entry;
        auto const moves = has_moving_parts(entry.function);
        entries_[at].moves = moves;
        entries_[at].at_once = moves or entry.match_index ? ~entry.function : entry.function;
    }

    /// Leaves come in four ranges, by the two highest bits, and have low numbers there: those below `numbers` are found
    /// at once.
    static constexpr std::uint32_t numbers{32};
    static constexpr std::uint8_t absent{capacity};
    [[nodiscard]] static constexpr auto number_of(std::uint32_t function) -> std::uint32_t {
        return function & 0x3fff'ffff;
    }
    [[nodiscard]] static constexpr auto place_of(std::uint32_t function) -> std::size_t {
        return function * 0x200'0001u >> 25; // range and number: 7 bits, all different
    }
    [[nodiscard]] constexpr auto first_of(std::uint32_t function) const -> std::size_t {
        if (number_of(function) < numbers) [[likely]]
            return first_[place_of(function)];
        std::size_t i{0};
        while (i != count_ and entries_[i].function != function)
            ++i;
        return i;
    }

    std::array<cpuid_entry, capacity + 1> entries_{}; ///< the last stands for leaves that do not exist
    std::array<std::uint8_t, 4 * numbers> first_ = [] {
        std::array<std::uint8_t, 4 * numbers> none{};
        none.fill(absent);
        return none;
    }();
    std::size_t count_{};
};

/// The profile a machine has if it names no other: what Debian and its like use and the library knows to be safe.
/// Neither virtualisation nor performance counters nor anything that keeps state outside the world switch.
struct default_cpuid_profile {
    static constexpr auto rules = [] {
        using namespace x86::cpuid_bits;
        constexpr std::uint32_t all{0xffffffff};
        constexpr std::uint32_t features_ecx{leaf1_ecx::sse3 | leaf1_ecx::pclmulqdq | leaf1_ecx::ssse3 |
                                             leaf1_ecx::cmpxchg16b | leaf1_ecx::sse4_1 | leaf1_ecx::sse4_2 |
                                             leaf1_ecx::movbe | leaf1_ecx::popcnt | leaf1_ecx::aes | leaf1_ecx::rdrand};
        constexpr std::uint32_t features_edx{
            leaf1_edx::fpu | leaf1_edx::vme | leaf1_edx::de | leaf1_edx::pse | leaf1_edx::tsc | leaf1_edx::msr |
            leaf1_edx::pae | leaf1_edx::mce | leaf1_edx::cx8 | leaf1_edx::sep | leaf1_edx::mtrr | leaf1_edx::pge |
            leaf1_edx::mca | leaf1_edx::cmov | leaf1_edx::pat | leaf1_edx::pse36 | leaf1_edx::clfsh | leaf1_edx::mmx |
            leaf1_edx::fxsr | leaf1_edx::sse | leaf1_edx::sse2};
        constexpr std::uint32_t structured_ebx{leaf7_ebx::fsgsbase | leaf7_ebx::smep | leaf7_ebx::erms |
                                               leaf7_ebx::rdseed | leaf7_ebx::adx | leaf7_ebx::smap |
                                               leaf7_ebx::clflushopt | leaf7_ebx::clwb | leaf7_ebx::sha};
        constexpr std::uint32_t extended_ecx{extended1_ecx::lahf | extended1_ecx::alt_mov_cr8 | extended1_ecx::abm |
                                             extended1_ecx::sse4a | extended1_ecx::misaligned_sse |
                                             extended1_ecx::prefetch_3dnow};
        constexpr std::uint32_t extended_edx{(features_edx & 0x0183f3ff) | extended1_edx::syscall | extended1_edx::nx |
                                             extended1_edx::mmx_extensions | extended1_edx::page_1gib |
                                             extended1_edx::rdtscp | extended1_edx::long_mode};
        return std::array{
            // clang-format off
            cpuid_rule{.function = 0x0, .allow = {.ebx = all, .ecx = all, .edx = all}, .set = {.eax = 0xd}},
            cpuid_rule{.function = 0x1, .allow = {.eax = all, .ebx = 0x0000ff00, .ecx = features_ecx, .edx = features_edx},
                       .set = {.ecx = leaf1_ecx::hypervisor}},
            cpuid_rule{.function = 0x4, .index = 0, .match_index = true, .allow = {all, all, all, all}},
            cpuid_rule{.function = 0x4, .index = 1, .match_index = true, .allow = {all, all, all, all}},
            cpuid_rule{.function = 0x4, .index = 2, .match_index = true, .allow = {all, all, all, all}},
            cpuid_rule{.function = 0x4, .index = 3, .match_index = true, .allow = {all, all, all, all}},
            cpuid_rule{.function = 0x6, .set = {.eax = 1u << 2}}, // the local APIC's timer always runs
            cpuid_rule{.function = 0x7, .index = 0, .match_index = true,
                       .allow = {.ebx = structured_ebx, .ecx = leaf7_ecx::umip, .edx = leaf7_edx::fsrm},
                       .set = {.ebx = leaf7_ebx::tsc_adjust}},
            cpuid_rule{.function = 0xb, .index = 0, .match_index = true}, // these two, as 1Fh: see topology.hpp
            cpuid_rule{.function = 0xb, .index = 1, .match_index = true},
            cpuid_rule{.function = 0x1f, .index = 0, .match_index = true},
            cpuid_rule{.function = 0x1f, .index = 1, .match_index = true},
            cpuid_rule{.function = 0x40000000, .set = {.eax = 0x40000010, .ebx = 0x20207668, .ecx = 0x20207668, .edx = 0x20207668}},
            cpuid_rule{.function = 0x40000010}, // kHz of the TSC and of the local APIC's timer
            cpuid_rule{.function = 0x80000000, .allow = {.ebx = all, .ecx = all, .edx = all}, .set = {.eax = 0x80000008}},
            cpuid_rule{.function = 0x80000001, .allow = {.eax = all, .ecx = extended_ecx, .edx = extended_edx}},
            cpuid_rule{.function = 0x80000002, .allow = {all, all, all, all}},
            cpuid_rule{.function = 0x80000003, .allow = {all, all, all, all}},
            cpuid_rule{.function = 0x80000004, .allow = {all, all, all, all}},
            cpuid_rule{.function = 0x80000005, .allow = {all, all, all, all}},
            cpuid_rule{.function = 0x80000006, .allow = {all, all, all, all}},
            cpuid_rule{.function = 0x80000007, .set = {.edx = invariant_tsc}}, // as steady as every clock made from it
            cpuid_rule{.function = 0x80000008, .allow = {.eax = 0xffff}},
            cpuid_rule{.function = 0x8000001d, .index = 0, .match_index = true, .allow = {all, all, all, all}},
            cpuid_rule{.function = 0x8000001d, .index = 1, .match_index = true, .allow = {all, all, all, all}},
            cpuid_rule{.function = 0x8000001d, .index = 2, .match_index = true, .allow = {all, all, all, all}},
            cpuid_rule{.function = 0x8000001d, .index = 3, .match_index = true, .allow = {all, all, all, all}},
            cpuid_rule{.function = 0x8000001e},
            // clang-format on
        };
    }();
};

/// `Profile` for a guest with XSAVE: leaf Dh for the states in `Allowed`, which are x87, SSE and AVX, and what depends
/// on them. SDM Vol. 2A, "CPUID—CPU Identification", leaf 0DH; the sizes in its subleaves 0 and 1 move: see
/// hv::read_cpuid.
template <typename Profile, std::uint64_t Allowed>
struct xsave_cpuid_profile {
    static constexpr auto rules = [] {
        using namespace x86::cpuid_bits;
        constexpr std::uint32_t all{0xffffffff};
        constexpr bool avx{(Allowed & x86::xcr0::avx) != 0};
        constexpr std::uint32_t features{leaf1_ecx::xsave |
                                         (avx ? leaf1_ecx::avx | leaf1_ecx::fma | leaf1_ecx::f16c : 0)};
        constexpr std::uint32_t structured{avx ? leaf7_ebx::avx2 | leaf7_ebx::bmi1 | leaf7_ebx::bmi2 : 0};
        constexpr std::array states{
            cpuid_rule{.function = 0xd, .index = 0, .match_index = true, .allow = {.eax = Allowed & all}},
            cpuid_rule{.function = 0xd,
                       .index = 1,
                       .match_index = true,
                       .allow = {.eax = xsaveopt | xsavec | xgetbv_in_use | xsaves}},
            cpuid_rule{.function = 0xd,
                       .index = 2,
                       .match_index = true,
                       .allow = avx ? x86::cpuid_result{.eax = all, .ebx = all} : x86::cpuid_result{}}};
        std::array<cpuid_rule, Profile::rules.size() + states.size()> made{};
        std::size_t count{0};
        bool placed{false};
        auto const place_states = [&] {
            for (auto const& rule : states)
                made[count++] = rule;
            placed = true;
        };
        for (auto rule : Profile::rules) {
            if (not placed and rule.function > 0xd)
                place_states();
            if (rule.function == 1)
                rule.allow.ecx |= features;
            else if (rule.function == 7 and rule.index == 0)
                rule.allow.ebx |= structured;
            made[count++] = rule;
        }
        if (not placed)
            place_states();
        return made;
    }();
};

/// Applies a profile to what this host's CPUID says: leaves are clamped to those the host has, and to those the vendor
/// has that the profile shows. Leaf 0 and 8000_0000h name the last of them at least.
template <typename Profile, typename Host>
[[nodiscard]] constexpr auto make_cpuid_table(Host& host) -> cpuid_table {
    std::array<cpuid_entry, Profile::rules.size()> entries{};
    static_assert(Profile::rules.size() <= cpuid_table::capacity, "a CPUID profile has more leaves than a table holds");
    auto const highest = host.cpuid(0, 0).eax;
    auto const highest_extended = host.cpuid(0x80000000, 0).eax;
    std::size_t count{0};
    bool amd{false};
    auto const name_last = [&](std::uint32_t first, std::uint32_t last) {
        for (auto& entry : entries)
            if (entry.function == first and entry.values.eax < last)
                entry.values.eax = last;
    };
    for (auto const& rule : Profile::rules) {
        if (not belongs_to_vendor(rule.function, amd))
            continue;
        auto const host_has = rule.function < 0x40000000
                                  ? rule.function <= highest
                                  : rule.function >= 0x80000000 and rule.function <= highest_extended;
        auto const from = host_has ? host.cpuid(rule.function, rule.index) : x86::cpuid_result{};
        auto& entry = entries[count++];
        entry = {.function = rule.function,
                 .index = rule.index,
                 .match_index = rule.match_index,
                 .values = {(from.eax & rule.allow.eax) | rule.set.eax, (from.ebx & rule.allow.ebx) | rule.set.ebx,
                            (from.ecx & rule.allow.ecx) | rule.set.ecx, (from.edx & rule.allow.edx) | rule.set.edx}};
        if (rule.function == 0)
            amd = is_amd(entry.values);
        else if (rule.function < 0x40000000)
            name_last(0, rule.function);
        else if (rule.function >= 0x80000000)
            name_last(0x80000000, rule.function);
    }
    cpuid_table table{};
    if (table.assign(std::span{entries}.first(count)) != status::ok)
        host.panic("a CPUID profile is not sorted by function and index");
    return table;
}

} // namespace hv
