// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/processor_registers.hpp>
#include <hv/backends/speculation.hpp>
#include <hv/x86/msr.hpp>

#include <cstdint>

namespace hv::backends::svm {

/// The instructions that tests cannot execute; they bring their own class with the same functions.
struct world_switch : processor_registers {
    /// Runs the guest until its next exit. `gprs` are the guest's registers in encoding order; RAX and RSP are in the
    /// VMCB. To be called with interrupts off and code that keeps the red zone clear. APM Vol. 2, "VMRUN Instruction".
    ///
    /// GIF stays clear from before the guest's state is loaded until the host's is back, so nothing of the host runs in
    /// between. Host interrupts are enabled inside: with V_INTR_MASKING it is the host's RFLAGS.IF that lets a physical
    /// interrupt end the guest. No guest value is read behind the exit: each register is the host's again, or written
    /// first.
    ///
    /// `Mitigates`: the word behind the registers is switch_work. Nothing of the host but the guest's own registers is
    /// touched between VERW and VMRUN. Behind the exit, before STGI and the first return, speculation loses the guest's
    /// values too: the registers are cleared; then the IBPB, and calls that fill the return predictor with places where
    /// speculation stops; zero displacements would not count as calls. LFENCE keeps a mispredicted branch from getting
    /// past either.
    template <bool Mitigates>
    [[gnu::always_inline]] static void enter(std::uint64_t* gprs, hpa guest, hpa host) {
        auto guest_vmcb = guest.value, host_vmcb = host.value;
        asm volatile("push %%rbp\n\t"
                     "push %%rdx\n\t"
                     "push %%rdi\n\t"
                     "clgi\n\t"
                     "sti\n\t"
                     "vmload %%rax\n\t"
                     ".if %c[mitigates]\n\t"
                     "testb %[clear_buffers], 0x80(%%rdi)\n\t"
                     "jz 1f\n\t"
                     "mov %%ss, 0x82(%%rdi)\n\t" // a selector for VERW to look at
                     "verw 0x82(%%rdi)\n"
                     "1:\n\t"
                     ".endif\n\t"
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
                     "vmrun %%rax\n\t"
                     "vmsave %%rax\n\t" // RAX is the host's again: the address of the guest's VMCB
                     "pop %%rax\n\t"
                     "mov %%rcx, 0x08(%%rax)\n\t"
                     "mov %%rdx, 0x10(%%rax)\n\t"
                     "mov %%rbx, 0x18(%%rax)\n\t"
                     "mov %%rbp, 0x28(%%rax)\n\t"
                     "mov %%rsi, 0x30(%%rax)\n\t"
                     "mov %%rdi, 0x38(%%rax)\n\t"
                     "mov %%r8, 0x40(%%rax)\n\t"
                     "mov %%r9, 0x48(%%rax)\n\t"
                     "mov %%r10, 0x50(%%rax)\n\t"
                     "mov %%r11, 0x58(%%rax)\n\t"
                     "mov %%r12, 0x60(%%rax)\n\t"
                     "mov %%r13, 0x68(%%rax)\n\t"
                     "mov %%r14, 0x70(%%rax)\n\t"
                     "mov %%r15, 0x78(%%rax)\n\t"
                     ".if %c[mitigates]\n\t"
                     "xor %%ecx, %%ecx\n\t"
                     "xor %%edx, %%edx\n\t"
                     "xor %%ebx, %%ebx\n\t"
                     "xor %%esi, %%esi\n\t"
                     "xor %%edi, %%edi\n\t"
                     "xor %%r8d, %%r8d\n\t"
                     "xor %%r9d, %%r9d\n\t"
                     "xor %%r10d, %%r10d\n\t"
                     "xor %%r11d, %%r11d\n\t"
                     "xor %%r12d, %%r12d\n\t"
                     "xor %%r13d, %%r13d\n\t"
                     "xor %%r14d, %%r14d\n\t"
                     "xor %%r15d, %%r15d\n\t"
                     "testb %[barrier], 0x80(%%rax)\n\t"
                     "jz 1f\n\t"
                     "mov %[pred_cmd], %%ecx\n\t"
                     "mov %[ibpb], %%eax\n\t"
                     "wrmsr\n\t"
                     "xor %%ecx, %%ecx\n"
                     "1:\n\t"
                     ".rept %c[fillers]\n\t"
                     "call 2f\n\t"
                     "int3\n"
                     "2:\n\t"
                     ".endr\n\t"
                     "add $8 * %c[fillers], %%rsp\n\t"
                     "lfence\n\t"
                     ".endif\n\t"
                     "pop %%rax\n\t"
                     "vmload %%rax\n\t"
                     "pop %%rbp\n\t"
                     "cli\n\t"
                     "stgi"
                     : "+a"(guest_vmcb), "+d"(host_vmcb), "+D"(gprs)
                     : [mitigates] "i"(Mitigates ? 1 : 0), [clear_buffers] "i"(switch_work::clear_buffers),
                       [barrier] "i"(switch_work::barrier_at_exit), [pred_cmd] "i"(x86::msr::ia32_pred_cmd),
                       [ibpb] "i"(x86::pred_cmd::ibpb), [fillers] "i"(return_fillers)
                     : "rbx", "rcx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
    }

    /// Stores the host's half of what VMLOAD exchanges, for `enter` to put back.
    static void save_host(hpa host) { asm volatile("vmsave %%rax" : : "a"(host.value) : "memory"); }
};

} // namespace hv::backends::svm
