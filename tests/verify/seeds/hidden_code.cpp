// SPDX-License-Identifier: BSD-2-Clause
#include "main.hpp"

// Assembly that hides from a verifier what it does.
#if defined SEED_THUNK // the name of the kernel's return, which this file defines
asm(".text\n.globl __x86_return_thunk\n.type __x86_return_thunk, @function\n__x86_return_thunk: jmp *%rax\n"
    ".size __x86_return_thunk, . - __x86_return_thunk\n"
    ".globl hide\n.type hide, @function\nhide: jmp __x86_return_thunk\n.size hide, . - hide\n");
#elif defined SEED_RODATA // code in a section that only the segment makes executable
asm(".section .rodata, \"a\"\n.globl hide\n.type hide, @function\nhide: vmrun; call *%rcx; ret\n"
    ".size hide, . - hide\n.text\n");
#elif defined SEED_NOBITS
asm(".section .patched, \"awx\", @nobits\n.zero 64\n.text\n"
    ".globl hide\n.type hide, @function\nhide: ret\n.size hide, . - hide\n");
#elif defined SEED_UNSIZED // one routine without a size falls into the next
asm(".text\n.globl hide\nhide: nop\n.globl next\nnext: ret\n");
#elif defined SEED_ALIAS   // a name of more bytes than the function has
asm(".text\n.globl hide\n.type hide, @function\nhide: nop\n.size hide, . - hide\n"
    ".globl next\n.type next, @function\nnext: ret\n.size next, . - next\n"
    ".globl alias\n.type alias, @function\n.set alias, hide\n.size alias, 2\n");
#elif defined SEED_OVERLAP
asm(".text\n.globl hide\n.type hide, @function\nhide: nop\n.size hide, 2\n"
    ".globl next\n.type next, @function\nnext: ret\n.size next, . - next\n");
#elif defined SEED_RESOLVER  // a function that its resolver chooses
asm(".text\n.globl other\n.type other, @function\nother: jmp *%rcx\n.size other, . - other\n"
    ".globl resolver\n.type resolver, @function\nresolver: mov $other, %eax; ret\n.size resolver, . - resolver\n"
    ".globl hide\n.type hide, @gnu_indirect_function\n.set hide, resolver\n");
#elif defined SEED_TABLE     // an address in four bytes
asm(".section .rodata.table, \"a\"\n.balign 8\n.long 0, _ZN2hv4vcpuINS_7machineEE5enterEv\n.text\n"
    ".globl hide\n.type hide, @function\nhide: ret\n.size hide, . - hide\n");
#elif defined SEED_IRET      // pops a frame of its own
asm(".text\n.globl hv_bare_vector_0\n.type hv_bare_vector_0, @function\n"
    "hv_bare_vector_0: push $0; push %rsp; pushf; push $8; push %rax; iretq\n"
    ".size hv_bare_vector_0, . - hv_bare_vector_0\n"
    ".globl hide\n.type hide, @function\nhide: ret\n.size hide, . - hide\n");
#elif defined SEED_RETURN    // from an interrupt
asm(".text\n.globl hv_bare_vector_0\n.type hv_bare_vector_0, @function\nhv_bare_vector_0: ret\n"
    ".size hv_bare_vector_0, . - hv_bare_vector_0\n"
    ".globl hide\n.type hide, @function\nhide: ret\n.size hide, . - hide\n");
#elif defined SEED_INSIDE    // an entry instruction in an immediate
asm(".text\n.globl hide\n.type hide, @function\n"
    "hide: jmp 1f + 2\n1: .byte 0x48, 0xb8\n vmrun\n ret\n .byte 0x90, 0x90, 0x90, 0x90\n ret\n.size hide, . - hide\n");
#elif defined SEED_IMMEDIATE // the same bytes, which nobody executes
asm(".text\n.globl hide\n.type hide, @function\nhide: mov $0xd8010f, %eax\n ret\n.size hide, . - hide\n");
#elif defined SEED_NAMELESS
asm(".text\n.globl hide\n.type hide, @function\nhide: ret\n.size hide, . - hide\nvmrun\n ret\n");
#elif defined SEED_UNKNOWN    // behind the last symbol
asm(".text\n.globl hide\n.type hide, @function\nhide: jmp 1f\n.size hide, . - hide\nnop\n1: ret\n");
#elif defined SEED_RELOCATION // which makes JMP *%rax of two NOPs
asm(".text\n.globl hide\n.type hide, @function\nhide: nop\n1: nop\n nop\n ret\n.size hide, . - hide\n"
    ".reloc 1b, R_X86_64_16, 0xe0ff\n");
#elif defined SEED_DEPTH
asm(".text\n.globl hide\n.type hide, @function\nhide: mov %rsp, %rbp\n mov %rdi, %rsp\n hlt\n mov %rbp, %rsp\n ret\n"
    ".size hide, . - hide\n");
#endif
extern "C" void hide();

#ifdef SEED_START // nothing behind an exit calls it
extern "C" void start_up() {
    hide();
    hv::vcpu<hv::machine>::run();
}
auto serve(unsigned long exit) -> bool {
    return exit != 0;
}
#else
auto serve(unsigned long exit) -> bool {
    hide();
    return exit != 0;
}
#endif
