// SPDX-License-Identifier: BSD-2-Clause
#include "trap.hpp"

#include "backtrace.hpp"
#include "host.hpp"
#include "instructions.hpp"
#include "symbols.hpp"
#include "text.hpp"

#include <hv/x86/exception.hpp>

#include <array>
#include <string_view>

extern "C" char const hv_bare_read_msr_instruction[];
extern "C" char const hv_bare_write_msr_instruction[];
extern "C" char const hv_bare_msr_fault[];

namespace hv::bare {

namespace {

constexpr std::array<std::string_view, 22> exception_names{"divide error",
                                                           "debug exception",
                                                           "NMI",
                                                           "breakpoint",
                                                           "overflow",
                                                           "BOUND range exceeded",
                                                           "invalid opcode",
                                                           "device not available",
                                                           "double fault",
                                                           "coprocessor segment overrun",
                                                           "invalid TSS",
                                                           "segment not present",
                                                           "stack-segment fault",
                                                           "general protection",
                                                           "page fault",
                                                           "reserved exception",
                                                           "x87 floating-point error",
                                                           "alignment check",
                                                           "machine check",
                                                           "SIMD floating-point exception",
                                                           "virtualization exception",
                                                           "control protection exception"};

[[gnu::cold]] void print_registers(host& h, trap_frame const& f) {
    static constexpr std::array<std::string_view, 20> names{"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp",
                                                            "rsp", "r8 ", "r9 ", "r10", "r11", "r12", "r13",
                                                            "r14", "r15", "cr0", "cr2", "cr3", "cr4"};
    std::array const values{f.rax, f.rbx, f.rcx, f.rdx, f.rsi, f.rdi, f.rbp,      f.rsp,      f.r8,       f.r9,
                            f.r10, f.r11, f.r12, f.r13, f.r14, f.r15, read_cr0(), read_cr2(), read_cr3(), read_cr4()};
    for (std::size_t i{0}; i != names.size(); i += 4) {
        text t;
        for (std::size_t j{i}; j != i + 4; ++j)
            (t << "  " << names[j] << " ").hex(values[j], 16);
        h.log(t.view());
    }
}

[[noreturn, gnu::cold, gnu::noinline]] void die_of(host& h, trap_frame const& f) {
    if (not h.begin_failure())
        h.leave(host::panic_status);
    text t;
    t << "exception ";
    t.decimal(f.vector) << " (" << (f.vector < exception_names.size() ? exception_names[f.vector] : "reserved")
                        << "), error code 0x";
    t.hex(f.error_code) << ", rip ";
    t.hex(f.rip, 16) << ", cs ";
    t.hex(f.cs) << ", rflags ";
    t.hex(f.rflags);
    h.log(t.view());
    print_registers(h, f);
    print_interrupted(h, f.rip, f.rsp, f.rbp);
    h.leave(host::panic_status);
}

/// Continues behind an RDMSR or WRMSR that was allowed to fault.
auto recover(trap_frame& f) -> bool {
    if (f.rip != reinterpret_cast<std::uint64_t>(hv_bare_read_msr_instruction) and
        f.rip != reinterpret_cast<std::uint64_t>(hv_bare_write_msr_instruction))
        return false;
    f.rip = reinterpret_cast<std::uint64_t>(hv_bare_msr_fault);
    return true;
}

} // namespace

/// Every vector of the IDT arrives here, with interrupts off.
extern "C" void hv_bare_serve_trap(trap_frame& f) {
    auto& h = this_host();
    if (f.vector >= vector::first_interrupt)
        return h.serve_interrupt(static_cast<std::uint8_t>(f.vector));
    if (f.vector == static_cast<std::uint64_t>(x86::exception::nmi))
        return h.serve_nmi();
    if (f.vector == static_cast<std::uint64_t>(x86::exception::general_protection) and recover(f))
        return;
    die_of(h, f);
}

} // namespace hv::bare
