// SPDX-License-Identifier: BSD-2-Clause
// Does what the command line says is wrong, so that the test can read what the host prints about it.
#include <kernel_glue/bare/image.hpp>
#include <kernel_glue/bare/stacks.hpp>
#include <kernel_glue/bare/text.hpp>

using hv::bare::host;
using hv::bare::text;

namespace {

[[gnu::noinline]] void invalid_opcode() {
    asm volatile("ud2");
    asm volatile("" : : : "memory"); // no tail call: the frame has to be there
}

/// The same with the direction flag set: the handler must not inherit it.
[[gnu::noinline]] void invalid_opcode_backwards() {
    asm volatile("std; ud2");
}

[[gnu::noinline]] void divide_by_zero() {
    asm volatile("divl %0" : : "r"(0), "a"(1), "d"(0));
}

[[gnu::noinline]] void write_to(std::uint64_t address) {
    asm volatile("movb $1, (%0)" : : "r"(address) : "memory");
}

[[gnu::noinline]] void read_from(std::uint64_t address) {
    asm volatile("movb (%0), %%al" : : "r"(address) : "al");
}

[[gnu::noinline]] auto recurse(std::uint64_t depth) -> std::uint64_t {
    std::uint64_t volatile local[64]{depth};
    return depth == 0 ? 0 : recurse(depth - 1) + local[0];
}

[[gnu::noinline]] void execute(std::uint64_t address) {
    reinterpret_cast<void (*)()>(address)();
    asm volatile("" : : : "memory"); // no tail call
}

constinit unsigned char return_instruction[16]{0xc3};

void survive_nmi(host& h) {
    for (int n{0}; n != 3; ++n)
        h.apic().send_nmi(h.apic().id());
    for (int n{0}; n != 1'000'000 and h.nmi_count() != 3; ++n)
        asm volatile("pause");
    text t;
    t << "NMIs ";
    h.log(t.decimal(h.nmi_count()).view());
}

/// An NMI that finds the stack pointer at the unmapped page 0. By the xAPIC's ICR: no stack is needed to write it.
void survive_nmi_without_stack(host& h) {
    auto* const command = reinterpret_cast<std::uint32_t volatile*>(h.board().local_apic.value + 0x300);
    command[4] = h.apic().id() << 24;
    asm volatile("movq %%rsp, %%r8\n\t"
                 "xorl %%esp, %%esp\n\t"
                 "movl $0x4400, (%0)\n\t" // NMI, asserted
                 "movl $1000000, %%ecx\n"
                 "1:\tpause\n\t"
                 "decl %%ecx\n\t"
                 "jnz 1b\n\t"
                 "movq %%r8, %%rsp"
                 :
                 : "r"(command)
                 : "rcx", "r8", "memory", "cc");
    text t;
    t << "NMIs without stack ";
    h.log(t.decimal(h.nmi_count()).view());
}

void survive_msr(host& h) {
    constexpr std::uint32_t no_such_msr{0x3fffffff}, apic_base{0x1b};
    text t;
    t << "no such MSR: read " << (h.read_msr(no_such_msr) ? "ok" : "refused") << ", write "
      << (h.write_msr(no_such_msr, 1) == hv::status::ok ? "ok" : "refused") << ", APIC base 0x";
    h.log(t.hex(h.read_msr(apic_base).value >> 12).view());

    constexpr std::uint32_t kernel_gs_base{0xc0000102};
    constexpr std::uint64_t wide{0xffff8123456789ab};
    auto const written = h.write_msr(kernel_gs_base, wide) == hv::status::ok;
    t.clear();
    t << "all 64 bits: " << (written and h.read_msr(kernel_gs_base).value == wide ? "ok" : "wrong");
    h.log(t.view());
}

} // namespace

auto image_main(host& h, hv::bare::boot_information const& boot) -> int {
    auto const what = boot.command_line;
    auto const at = [](auto const* p) { return reinterpret_cast<std::uint64_t>(p); };
    if (what == "ud")
        invalid_opcode();
    else if (what == "backwards")
        invalid_opcode_backwards();
    else if (what == "divide")
        divide_by_zero();
    else if (what == "null")
        read_from(0x10);
    else if (what == "guard")
        write_to(at(&hv::bare::hv_bare_stacks.guard) + 0xff8);
    else if (what == "overflow")
        return static_cast<int>(recurse(10'000'000));
    else if (what == "code")
        write_to(at(hv::bare::image_start));
    else if (what == "constant")
        write_to(at(what.data() == nullptr ? nullptr : "constant"));
    else if (what == "data")
        execute(at(return_instruction));
    else if (what == "page")
        execute(at(h.allocate(4096, 4096)));
    else if (what == "module")
        execute(boot.modules()[0].start.value);
    else if (what == "free")
        h.free(h.pointer(hv::hpa{0x3000000}), 4096);
    else if (what == "panic")
        h.panic("because it was asked for");
    else if (what == "nmi")
        survive_nmi(h);
    else if (what == "nmi-without-stack")
        survive_nmi_without_stack(h);
    else if (what == "msr")
        survive_msr(h);
    else
        return 1;
    return 0;
}
