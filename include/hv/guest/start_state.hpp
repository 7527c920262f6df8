// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/x86/control_registers.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <cstdint>

namespace hv::guest {

/// The mode in which the first instruction of a guest runs.
enum class start_mode : std::uint8_t { real, protected32, long64 };

/// The registers with which a guest starts: everything that a loader decides. What is not here has its value after
/// INIT.
struct start_state {
    start_mode mode{start_mode::real};
    std::uint64_t rip{};
    std::uint64_t rflags{x86::rflags::fixed_one};
    std::uint64_t cr0{x86::cr0::et};
    std::uint64_t cr3{};
    std::uint64_t cr4{};
    std::uint64_t efer{};
    x86::descriptor_table gdtr{};
    x86::descriptor_table idtr{};
    std::array<std::uint64_t, x86::gpr_count> gpr{};
    std::array<x86::segment, x86::segment_count> segments{};

    [[nodiscard]] constexpr auto reg(x86::gpr name) -> std::uint64_t& { return gpr[static_cast<std::size_t>(name)]; }
    [[nodiscard]] constexpr auto reg(x86::gpr name) const -> std::uint64_t {
        return gpr[static_cast<std::size_t>(name)];
    }
    [[nodiscard]] constexpr auto segment(x86::segment_name name) -> x86::segment& {
        return segments[static_cast<std::size_t>(name)];
    }
    [[nodiscard]] constexpr auto segment(x86::segment_name name) const -> x86::segment const& {
        return segments[static_cast<std::size_t>(name)];
    }
};

namespace detail {

inline constexpr std::uint32_t readable_code{x86::segment_access::code | x86::segment_access::writable |
                                             x86::segment_access::accessed | x86::segment_access::not_system |
                                             x86::segment_access::present};
inline constexpr std::uint32_t writable_data{x86::segment_access::writable | x86::segment_access::accessed |
                                             x86::segment_access::not_system | x86::segment_access::present};
inline constexpr std::uint32_t busy_tss{11 | x86::segment_access::present};

/// Sets CS, the data segments alike, no LDT, and a task register that satisfies both vendors' entry checks.
constexpr void set_segments(start_state& state, x86::segment const& code, x86::segment const& data) {
    using enum x86::segment_name;
    for (auto const name : {es, ss, ds, fs, gs})
        state.segment(name) = data;
    state.segment(cs) = code;
    state.segment(ldtr) = {.limit = 0xffff, .access = 2 | x86::segment_access::present | x86::segment_access::unusable};
    state.segment(tr) = {.limit = 0xffff, .access = busy_tss};
}

} // namespace detail

/// Real mode at `selector:offset`, with the data segments at 0.
[[nodiscard]] constexpr auto real_mode_start(std::uint16_t selector, std::uint16_t offset) -> start_state {
    start_state state{.mode = start_mode::real, .rip = offset, .idtr = {.base = 0, .limit = 0x3ff}};
    detail::set_segments(
        state,
        {.base = std::uint64_t{selector} << 4, .limit = 0xffff, .access = detail::readable_code, .selector = selector},
        {.limit = 0xffff, .access = detail::writable_data});
    return state;
}

/// The descriptors that both flat modes start with: null, unused, code at 0x10, data at 0x18.
[[nodiscard]] constexpr auto flat_descriptors(start_mode mode) -> std::array<std::uint64_t, 4> {
    constexpr std::uint64_t code32{0x00cf9b000000ffff};
    constexpr std::uint64_t code64{0x00af9b000000ffff};
    constexpr std::uint64_t data{0x00cf93000000ffff};
    return {0, 0, mode == start_mode::long64 ? code64 : code32, data};
}
inline constexpr std::uint16_t flat_code_selector{0x10};
inline constexpr std::uint16_t flat_data_selector{0x18};

namespace detail {

constexpr void set_flat_segments(start_state& state, std::uint32_t code_size, std::uint64_t descriptors) {
    auto const flat = x86::segment_access::granularity;
    set_segments(state,
                 {.limit = 0xffffffff, .access = readable_code | flat | code_size, .selector = flat_code_selector},
                 {.limit = 0xffffffff,
                  .access = writable_data | flat | x86::segment_access::default_big,
                  .selector = flat_data_selector});
    state.gdtr = {.base = descriptors, .limit = sizeof(flat_descriptors(start_mode::long64)) - 1};
}

} // namespace detail

/// Flat 32-bit protected mode without paging; `descriptors` is where flat_descriptors lie.
[[nodiscard]] constexpr auto protected_mode_start(std::uint32_t entry, std::uint64_t descriptors) -> start_state {
    start_state state{.mode = start_mode::protected32, .rip = entry, .cr0 = x86::cr0::pe | x86::cr0::et};
    detail::set_flat_segments(state, x86::segment_access::default_big, descriptors);
    return state;
}

/// 64-bit mode with the page tables at `cr3`; `descriptors` is where flat_descriptors lie.
[[nodiscard]] constexpr auto long_mode_start(std::uint64_t entry, std::uint64_t cr3, std::uint64_t descriptors)
    -> start_state {
    start_state state{.mode = start_mode::long64,
                      .rip = entry,
                      .cr0 = x86::cr0::pe | x86::cr0::et | x86::cr0::pg,
                      .cr3 = cr3,
                      .cr4 = x86::cr4::pae,
                      .efer = x86::efer::lme | x86::efer::lma};
    detail::set_flat_segments(state, x86::segment_access::long_mode, descriptors);
    return state;
}

} // namespace hv::guest
