// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "stacks.hpp"

#include <array>
#include <cstdint>

namespace hv::bare {

/// SDM Vol. 3A, "64-Bit TSS Format": words, because the fields straddle their natural alignment.
struct task_state {
    std::array<std::uint32_t, 26> words;

    void set_interrupt_stack(unsigned index, std::uint64_t top) {
        words[9 + 2 * index] = static_cast<std::uint32_t>(top);
        words[10 + 2 * index] = static_cast<std::uint32_t>(top >> 32);
    }
};
static_assert(sizeof(task_state) == 104);

/// What each processor has of its own.
struct processor_tables {
    std::array<std::uint64_t, 5> gdt{0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0, 0};
    task_state task{};
};

/// Loads GDT, task register and the IDT that all processors share, on the processor that these tables and stacks
/// belong to.
void load_descriptor_tables(processor_tables& tables, stacks& own);
/// The same for the processor that the image started on, which fills the IDT too.
void load_descriptor_tables();

} // namespace hv::bare
