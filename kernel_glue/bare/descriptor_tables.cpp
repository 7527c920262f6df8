// SPDX-License-Identifier: BSD-2-Clause
#include "descriptor_tables.hpp"

#include "stacks.hpp"
#include "trap.hpp"

#include <hv/x86/exception.hpp>

#include <array>
#include <cstdint>
#include <span>

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

constinit processor_tables first_tables{};
constinit std::span<stacks> further_stacks{};
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

[[gnu::cold]] void load_descriptor_tables() {
    fill_idt();
    load_descriptor_tables(first_tables, hv_bare_stacks);
}

void load_descriptor_tables(processor_tables& tables, stacks& own) {
    for (unsigned n{0}; n != stacks::trap_count; ++n)
        tables.task.set_interrupt_stack(n,
                                        reinterpret_cast<std::uint64_t>(own.trap[n].bytes.data()) + stacks::trap_size);
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

void know_stacks(std::span<stacks> more) {
    further_stacks = more;
}

auto stack_of(std::uint64_t address) -> stack_bounds {
    auto const within = [address](stacks const& one) -> stack_bounds {
        auto const holds = [address](auto const& bytes) -> stack_bounds {
            auto const first = reinterpret_cast<std::uint64_t>(bytes.data());
            return first <= address and address < first + bytes.size() ? stack_bounds{first, first + bytes.size()}
                                                                       : stack_bounds{};
        };
        if (auto const b = holds(one.main); b.end != 0)
            return b;
        for (auto const& trap : one.trap)
            if (auto const b = holds(trap.bytes); b.end != 0)
                return b;
        return {};
    };
    if (auto const b = within(hv_bare_stacks); b.end != 0)
        return b;
    for (auto const& one : further_stacks)
        if (auto const b = within(one); b.end != 0)
            return b;
    return {};
}

} // namespace hv::bare
