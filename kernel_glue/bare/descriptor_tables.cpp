// SPDX-License-Identifier: BSD-2-Clause
#include "stacks.hpp"
#include "trap.hpp"

#include <hv/x86/exception.hpp>

#include <array>
#include <cstdint>

extern "C" char const hv_bare_vectors[];

namespace hv::bare {

extern "C" {
constinit stacks hv_bare_stacks{};
}

namespace {

static_assert(sizeof(guard_page) + stacks::main_size == 0x1000 + 0x10000, "boot.S knows where the main stack ends");

constexpr std::uint16_t code_selector{0x08};
constexpr std::uint16_t data_selector{0x10};
constexpr std::uint16_t task_selector{0x18};
constexpr std::size_t vector_stride{16};

/// SDM Vol. 3A, "64-Bit TSS Format": words, because the fields straddle their natural alignment.
struct task_state {
    std::array<std::uint32_t, 26> words;

    void set_interrupt_stack(unsigned index, std::uint64_t top) {
        words[9 + 2 * index] = static_cast<std::uint32_t>(top);
        words[10 + 2 * index] = static_cast<std::uint32_t>(top >> 32);
    }
};
static_assert(sizeof(task_state) == 104);

/// SDM Vol. 3A, "64-Bit IDT Gate Descriptors".
struct gate {
    std::uint16_t offset_15_0;
    std::uint16_t selector;
    std::uint8_t interrupt_stack;
    std::uint8_t type;
    std::uint16_t offset_31_16;
    std::uint32_t offset_63_32;
    std::uint32_t zero;
};
static_assert(sizeof(gate) == 16);

struct [[gnu::packed]] table_register {
    std::uint16_t limit;
    std::uint64_t base;
};

/// What each processor has of its own.
struct processor_tables {
    std::array<std::uint64_t, 5> gdt{0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0, 0};
    task_state task{};
};

constinit processor_tables tables{};
alignas(16) constinit std::array<gate, 256> idt{};

/// Stacks that are not the interrupted one, by vector. 0: the interrupted one.
constexpr auto interrupt_stack(unsigned vector) -> std::uint8_t {
    switch (static_cast<x86::exception>(vector)) {
    case x86::exception::nmi:
        return 1;
    case x86::exception::machine_check:
        return 2;
    case x86::exception::double_fault:
        return 3;
    default:
        return 0;
    }
}

void fill_idt() {
    for (unsigned v{0}; v != idt.size(); ++v) {
        auto const entry = reinterpret_cast<std::uint64_t>(hv_bare_vectors) + v * vector_stride;
        idt[v] = {.offset_15_0 = static_cast<std::uint16_t>(entry),
                  .selector = code_selector,
                  .interrupt_stack = interrupt_stack(v),
                  .type = 0x8e, // present, interrupt gate
                  .offset_31_16 = static_cast<std::uint16_t>(entry >> 16),
                  .offset_63_32 = static_cast<std::uint32_t>(entry >> 32),
                  .zero = 0};
    }
}

} // namespace

void load_descriptor_tables() {
    fill_idt();
    for (unsigned n{0}; n != stacks::trap_count; ++n)
        tables.task.set_interrupt_stack(n, reinterpret_cast<std::uint64_t>(hv_bare_stacks.trap[n].bytes.data()) +
                                               stacks::trap_size);
    tables.task.words[25] = sizeof(task_state) << 16; // no I/O permission map
    auto const base = reinterpret_cast<std::uint64_t>(&tables.task);
    tables.gdt[3] = (sizeof(task_state) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
    tables.gdt[4] = base >> 32;

    table_register const gdtr{sizeof(tables.gdt) - 1, reinterpret_cast<std::uint64_t>(tables.gdt.data())};
    table_register const idtr{sizeof(idt) - 1, reinterpret_cast<std::uint64_t>(idt.data())};
    asm volatile("lgdt %0\n\t"
                 "lidt %1\n\t"
                 "ltr %w2\n\t"
                 "pushq %q3\n\t" // reload CS, whose selector the new table shares with boot.S
                 "leaq 1f(%%rip), %%rax\n\t"
                 "pushq %%rax\n\t"
                 "lretq\n"
                 "1:\tmovl %k4, %%ds\n\t"
                 "movl %k4, %%es\n\t"
                 "movl %k4, %%ss"
                 :
                 : "m"(gdtr), "m"(idtr), "r"(task_selector), "r"(std::uint64_t{code_selector}),
                   "r"(std::uint32_t{data_selector})
                 : "rax", "memory");
}

auto stack_of(std::uint64_t address) -> stack_bounds {
    auto const bounds = [&](auto const& bytes) -> stack_bounds {
        auto const first = reinterpret_cast<std::uint64_t>(bytes.data());
        return {first, first + bytes.size()};
    };
    auto const holds = [&](stack_bounds b) { return b.first <= address and address < b.end; };
    if (auto const b = bounds(hv_bare_stacks.main); holds(b))
        return b;
    for (auto const& one : hv_bare_stacks.trap)
        if (auto const b = bounds(one.bytes); holds(b))
            return b;
    return {};
}

} // namespace hv::bare
