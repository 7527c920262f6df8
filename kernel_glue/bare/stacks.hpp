// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hv::bare {

/// A page that paging.cpp leaves out of the tables.
struct guard_page {
    std::array<std::byte, page_size> nothing;
};

/// The stacks of one processor, each above a guard page. NMI, #MC and #DF have their own because they arrive when the
/// main stack may be no stack. SDM Vol. 3A, "Interrupt Stack Table".
struct alignas(page_size) stacks {
    static constexpr std::size_t main_size{64 * 1024};
    static constexpr std::size_t trap_size{8 * 1024};
    static constexpr std::size_t trap_count{3};

    struct trap_stack {
        guard_page guard;
        std::array<std::byte, trap_size> bytes;
    };

    guard_page guard;
    std::array<std::byte, main_size> main;
    std::array<trap_stack, trap_count> trap;
};

/// boot.S puts the stack pointer at the end of `main`.
extern "C" stacks hv_bare_stacks;

/// A half-open range of addresses.
struct stack_bounds {
    std::uint64_t first{};
    std::uint64_t end{};
};

/// Makes the stacks of further processors known to `stack_of`.
void know_stacks(std::span<stacks> more);

/// The stack that holds `address`; an empty range if none does.
[[nodiscard]] auto stack_of(std::uint64_t address) -> stack_bounds;

} // namespace hv::bare
