// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/processor_registers.hpp>
#include <hv/backends/speculation.hpp>
#include <hv/backends/vmx/exit_code.hpp>
#include <hv/backends/vmx/invalidation.hpp>

#include <array>
#include <cstdint>

namespace hv::backends::vmx {

/// The host's registers that VM exits load from the VMCS, and the limits that they forget.
struct host_state {
    std::uint64_t cr0{}, cr3{}, cr4{};
    std::array<std::uint16_t, 7> selectors{}; ///< ES, CS, SS, DS, FS, GS, TR
    std::uint64_t tr_base{}, gdtr_base{}, idtr_base{};
    std::uint16_t gdtr_limit{}, idtr_limit{};
};

/// The instructions that tests cannot execute; they bring their own class with the same functions.
struct world_switch : processor_registers {
    /// Runs the guest of the current VMCS until its next exit. `gprs` are the guest's registers in encoding order; RSP
    /// is in the VMCS. `host_rsp` is what HOST_RSP holds. To be called with interrupts off and code that keeps the red
    /// zone clear. SDM Vol. 3C, "VMLAUNCH/VMRESUME—Launch/Resume Virtual Machine".
    ///
    /// The first entry after VMCLEAR, and one from another depth of the stack, tells the VMCS where exits go. No guest
    /// value is read behind the exit: each register is the host's again, or written first.
    ///
    /// `Mitigates`: the word behind the registers is switch_work. Nothing of the host but the guest's own registers is
    /// touched between VERW and the entry. Behind the exit, before the first return, speculation loses the guest's
    /// values too: the registers are cleared; then calls fill the return predictor with places where speculation stops;
    /// LFENCE waits for them.
    template <bool Mitigates>
    [[gnu::always_inline]] static auto enter(std::uint64_t* gprs, bool launched, std::uint64_t* host_rsp)
        -> entry_outcome {
        std::uint32_t outcome{launched};
        asm goto("push %%rbp\n\t"
                 "push %%rdi\n\t"
                 "cmp %%rsp, (%%rdx)\n\t"
                 "jne 7f\n"
                 "1:\n\t" // ZF: VMRESUME
                 ".if %c[mitigates]\n\t"
                 "setne %%bl\n\t"
                 "testb %[clear_buffers], 0x80(%%rdi)\n\t"
                 "jz 8f\n\t"
                 "mov %%ss, 0x82(%%rdi)\n\t" // a selector for VERW to look at
                 "verw 0x82(%%rdi)\n"
                 "8:\n\t"
                 "test %%bl, %%bl\n\t"
                 ".endif\n\t"
                 "mov 0x00(%%rdi), %%rax\n\t"
                 "mov 0x08(%%rdi), %%rcx\n\t"
                 "mov 0x10(%%rdi), %%rdx\n\t"
                 "mov 0x18(%%rdi), %%rbx\n\t"
                 "mov 0x28(%%rdi), %%rbp\n\t"
                 "mov 0x30(%%rdi), %%rsi\n\t"
                 "mov 0x40(%%rdi), %%r8\n\t"
                 "mov 0x48(%%rdi), %%r9\n\t"
                 "mov 0x50(%%rdi), %%r10\n\t"
                 "mov 0x58(%%rdi), %%r11\n\t"
                 "mov 0x60(%%rdi), %%r12\n\t"
                 "mov 0x68(%%rdi), %%r13\n\t"
                 "mov 0x70(%%rdi), %%r14\n\t"
                 "mov 0x78(%%rdi), %%r15\n\t"
                 "mov 0x38(%%rdi), %%rdi\n\t"
                 "jne 3f\n\t"
                 "vmresume\n\t"
                 "jmp 4f\n"
                 "7:\n\t"
                 "mov %%rsp, (%%rdx)\n\t"
                 "mov %[host_rsp_field], %%ecx\n\t"
                 "vmwrite %%rsp, %%rcx\n\t"
                 "lea hv_vm_exit_entry_%=(%%rip), %%rdx\n\t"
                 "mov %[host_rip_field], %%ecx\n\t"
                 "vmwrite %%rdx, %%rcx\n\t"
                 "cmp $1, %%eax\n\t"
                 "jmp 1b\n"
                 "3:\n\t"
                 "vmlaunch\n"
                 "4:\n\t" // not entered: CF says VMfailInvalid, ZF VMfailValid
                 "mov $1, %%eax\n\t"
                 "jc 5f\n\t"
                 "mov $2, %%eax\n"
                 "5:\n\t"
                 "pop %%rdi\n\t"
                 ".if %c[mitigates]\n\t"
                 "jmp 6f\n"
                 ".else\n\t"
                 "pop %%rbp\n\t"
                 "jmp %l[not_entered]\n"
                 ".endif\n"
                 "hv_vm_exit_entry_%=:\n\t"
                 "push %%rdi\n\t"
                 "mov 8(%%rsp), %%rdi\n\t"
                 "mov %%rax, 0x00(%%rdi)\n\t"
                 "mov %%rcx, 0x08(%%rdi)\n\t"
                 "mov %%rdx, 0x10(%%rdi)\n\t"
                 "mov %%rbx, 0x18(%%rdi)\n\t"
                 "mov %%rbp, 0x28(%%rdi)\n\t"
                 "mov %%rsi, 0x30(%%rdi)\n\t"
                 "popq 0x38(%%rdi)\n\t"
                 "mov %%r8, 0x40(%%rdi)\n\t"
                 "mov %%r9, 0x48(%%rdi)\n\t"
                 "mov %%r10, 0x50(%%rdi)\n\t"
                 "mov %%r11, 0x58(%%rdi)\n\t"
                 "mov %%r12, 0x60(%%rdi)\n\t"
                 "mov %%r13, 0x68(%%rdi)\n\t"
                 "mov %%r14, 0x70(%%rdi)\n\t"
                 "mov %%r15, 0x78(%%rdi)\n\t"
                 "pop %%rdi\n\t"
                 ".if %c[mitigates]\n\t"
                 "xor %%eax, %%eax\n"
                 "6:\n\t"
                 "xor %%ecx, %%ecx\n\t"
                 "xor %%edx, %%edx\n\t"
                 "xor %%ebx, %%ebx\n\t"
                 "xor %%esi, %%esi\n\t"
                 "xor %%r8d, %%r8d\n\t"
                 "xor %%r9d, %%r9d\n\t"
                 "xor %%r10d, %%r10d\n\t"
                 "xor %%r11d, %%r11d\n\t"
                 "xor %%r12d, %%r12d\n\t"
                 "xor %%r13d, %%r13d\n\t"
                 "xor %%r14d, %%r14d\n\t"
                 "xor %%r15d, %%r15d\n\t"
                 ".rept %c[fillers]\n\t"
                 "call 8f\n\t"
                 "int3\n"
                 "8:\n\t"
                 ".endr\n\t"
                 "add $8 * %c[fillers], %%rsp\n\t"
                 "lfence\n\t"
                 "pop %%rbp\n\t"
                 "test %%eax, %%eax\n\t"
                 "jne %l[not_entered]\n\t"
                 ".else\n\t"
                 "pop %%rbp\n\t"
                 ".endif"
                 : "+a"(outcome), "+d"(host_rsp), "+D"(gprs)
                 : [host_rsp_field] "i"(0x6c14), [host_rip_field] "i"(0x6c16), [mitigates] "i"(Mitigates ? 1 : 0),
                   [clear_buffers] "i"(switch_work::clear_buffers), [fillers] "i"(return_fillers)
                 : "rbx", "rcx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc"
                 : not_entered);
        return entry_outcome::exited;
    not_entered:
        return static_cast<entry_outcome>(outcome);
    }

    // Each answers false where the instruction failed. SDM Vol. 3C, "VMX Instruction Reference".

    [[nodiscard]] static auto vmxon(hpa region) -> bool {
        bool done;
        asm volatile("vmxon %1" : "=@cca"(done) : "m"(region.value) : "memory");
        return done;
    }
    static void vmxoff() { asm volatile("vmxoff" : : : "memory", "cc"); }
    [[nodiscard]] static auto vmclear(hpa vmcs) -> bool {
        bool done;
        asm volatile("vmclear %1" : "=@cca"(done) : "m"(vmcs.value) : "memory");
        return done;
    }
    [[nodiscard]] static auto vmptrld(hpa vmcs) -> bool {
        bool done;
        asm volatile("vmptrld %1" : "=@cca"(done) : "m"(vmcs.value) : "memory");
        return done;
    }
    /// Zero for a field that the processor does not have.
    [[nodiscard]] static auto vmread(std::uint64_t encoding) -> std::uint64_t {
        std::uint64_t value{0};
        asm volatile("vmread %1, %0" : "+r"(value) : "r"(encoding) : "cc");
        return value;
    }
    // The next three are of fields that this processor has.

    [[nodiscard, gnu::always_inline]] static auto vmread_certain(std::uint64_t encoding) -> std::uint64_t {
        std::uint64_t value;
        asm volatile("vmread %1, %0" : "=r"(value) : "r"(encoding) : "cc");
        return value;
    }

    [[gnu::always_inline]] static void vmread_into(std::uint64_t& value, std::uint64_t encoding) {
        asm volatile("vmread %1, %0" : "+m"(value) : "r"(encoding) : "cc");
    }
    [[gnu::always_inline]] static void vmwrite_certain(std::uint64_t encoding, std::uint64_t value) {
        asm volatile("vmwrite %1, %0" : : "r"(encoding), "r"(value) : "cc");
    }
    [[nodiscard]] static auto vmwrite(std::uint64_t encoding, std::uint64_t value) -> bool {
        bool done;
        asm volatile("vmwrite %2, %1" : "=@cca"(done) : "r"(encoding), "r"(value));
        return done;
    }
    static void invept(invept_type type, std::uint64_t pointer) {
        std::array<std::uint64_t, 2> const descriptor{pointer, 0};
        asm volatile("invept %0, %1" : : "m"(descriptor), "r"(static_cast<std::uint64_t>(type)) : "memory", "cc");
    }
    static void invvpid(invvpid_type type, std::uint16_t vpid) {
        std::array<std::uint64_t, 2> const descriptor{vpid, 0};
        asm volatile("invvpid %0, %1" : : "m"(descriptor), "r"(static_cast<std::uint64_t>(type)) : "memory", "cc");
    }

    /// Hands the NMI that caused an exit to the host's own handler, whose IRET lets the next one in.
    [[gnu::noinline]] static void forward_nmi() { asm volatile("int $2" : : : "memory"); }

    [[nodiscard]] static auto read_host_state() -> host_state {
        struct [[gnu::packed]] table_register {
            std::uint16_t limit;
            std::uint64_t base;
        };
        host_state s;
        table_register gdtr, idtr;
        asm volatile("mov %%cr0, %0\n\tmov %%cr3, %1\n\tmov %%cr4, %2" : "=&r"(s.cr0), "=&r"(s.cr3), "=&r"(s.cr4));
        asm volatile("mov %%es, %0\n\tmov %%cs, %1\n\tmov %%ss, %2\n\tmov %%ds, %3\n\tmov %%fs, %4\n\tmov %%gs, %5\n\t"
                     "str %6"
                     : "=&r"(s.selectors[0]), "=&r"(s.selectors[1]), "=&r"(s.selectors[2]), "=&r"(s.selectors[3]),
                       "=&r"(s.selectors[4]), "=&r"(s.selectors[5]), "=&r"(s.selectors[6]));
        asm volatile("sgdt %0\n\tsidt %1" : "=m"(gdtr), "=m"(idtr));
        s.gdtr_base = gdtr.base;
        s.gdtr_limit = gdtr.limit;
        s.idtr_base = idtr.base;
        s.idtr_limit = idtr.limit;
        // SDM Vol. 3A, "TSS Descriptor in 64-bit mode".
        auto const* const task = reinterpret_cast<std::uint64_t const*>(gdtr.base + (s.selectors[6] & ~7u));
        s.tr_base = (task[0] >> 16 & 0xff'ffff) | (task[0] >> 56 << 24) | task[1] << 32;
        return s;
    }
    /// VM exits set both limits to FFFFh.
    static void restore_descriptor_tables(host_state const& s) {
        struct [[gnu::packed]] table_register {
            std::uint16_t limit;
            std::uint64_t base;
        };
        table_register const gdtr{s.gdtr_limit, s.gdtr_base}, idtr{s.idtr_limit, s.idtr_base};
        asm volatile("lgdt %0\n\tlidt %1" : : "m"(gdtr), "m"(idtr) : "memory");
    }
    static void write_cr0(std::uint64_t value) { asm volatile("mov %0, %%cr0" : : "r"(value) : "memory"); }
    static void write_cr4(std::uint64_t value) { asm volatile("mov %0, %%cr4" : : "r"(value) : "memory"); }
    /// Of an MSR that this processor is known to have.
    [[nodiscard]] static auto read_msr(std::uint32_t index) -> std::uint64_t {
        std::uint32_t low, high;
        asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
        return std::uint64_t{high} << 32 | low;
    }
};

} // namespace hv::backends::vmx
