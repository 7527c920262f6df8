// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <kernel_glue/bare/host.hpp>
#include <kernel_glue/bare/instructions.hpp>

#include <hv/x86/control_registers.hpp>
#include <hv/x86/memory_type.hpp>
#include <hv/x86/msr.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hv::test {

/// Registers of the host that a guest has too.
class host_registers {
  public:
    static constexpr std::size_t count{30};
    using values = std::array<std::uint64_t, count>;

    static constexpr std::array<std::string_view, count> names{"KERNEL_GS_BASE",
                                                               "STAR",
                                                               "LSTAR",
                                                               "CSTAR",
                                                               "FMASK",
                                                               "GDTR limit",
                                                               "IDTR limit",
                                                               "SYSENTER_CS",
                                                               "SYSENTER_ESP",
                                                               "SYSENTER_EIP",
                                                               "FS base",
                                                               "GS base",
                                                               "PAT",
                                                               "EFER",
                                                               "CR0",
                                                               "CR3",
                                                               "CR4",
                                                               "XCR0",
                                                               "GDTR base",
                                                               "IDTR base",
                                                               "TR and LDTR",
                                                               "CS, SS, DS, ES",
                                                               "RFLAGS",
                                                               "DR0",
                                                               "DR1",
                                                               "DR2",
                                                               "DR3",
                                                               "DR6",
                                                               "DR7",
                                                               "TSC_AUX"};
    /// From here on those that a VMCS carries. Of the limits it knows one value only, FFFFh.
    static constexpr std::size_t first_in_vmcs{7};
    /// From here on the guest's values stay in the processor between its exits, until its run ends.
    static constexpr std::size_t first_of_run{23};

    explicit host_registers(bare::host& h) : host_{h} {}

    /// Gives them values that no guest has, where the host does not need its own.
    void fill() {
        for (std::size_t i{0}; i != patterns.size(); ++i)
            if (host_.write_msr(msrs[i], patterns[i]) != status::ok)
                host_.panic("the host's own MSR takes no value");
        // Nested tables use the entries 0 and 3.
        (void)host_.write_msr(x86::msr::ia32_pat, (x86::pat_at_reset & 0xffffffff) | 0x0001'0504ull << 32);
        (void)host_.write_msr(x86::msr::ia32_tsc_aux, 0x40057);
        asm volatile("mov %0, %%dr0\n\tmov %1, %%dr1\n\tmov %2, %%dr2\n\tmov %3, %%dr3\n\tmov %4, %%dr6"
                     :
                     : "r"(0x7000'1111'0000), "r"(0x7000'2222'0000), "r"(0x7000'3333'0000), "r"(0x7000'4444'0000),
                       "r"(0xffff'0ff2ull));
    }

    /// What a host does with its FPU while no guest runs.
    static void spoil_fpu() {
        std::uint32_t const all_masked{0x1f80};
        asm volatile("fninit\n\tfldz\n\tldmxcsr %0\n\t"
                     "pcmpeqd %%xmm0, %%xmm0\n\tpcmpeqd %%xmm1, %%xmm1\n\tpcmpeqd %%xmm2, %%xmm2\n\t"
                     "pcmpeqd %%xmm3, %%xmm3\n\tpcmpeqd %%xmm8, %%xmm8\n\tpcmpeqd %%xmm15, %%xmm15"
                     :
                     : "m"(all_masked));
    }

    [[nodiscard]] auto read() -> values {
        values v{};
        std::size_t next{0};
        auto const add = [&](std::uint64_t value) { v[next++] = value; };
        auto const gdt = table_register<'g'>();
        auto const idt = table_register<'i'>();
        for (std::size_t i{0}; i != msrs.size(); ++i) {
            if (i == system_call_msrs) {
                add(gdt.limit);
                add(idt.limit);
            }
            add(host_.read_msr(msrs[i]).value);
        }
        add(bare::read_cr0());
        add(bare::read_cr3());
        add(bare::read_cr4());
        add((bare::read_cr4() & x86::cr4::osxsave) != 0 ? read_xcr0() : 0);
        add(gdt.base);
        add(idt.base);
        std::uint16_t a{}, b{}, c{}, d{};
        asm volatile("str %0\n\tsldt %1" : "=r"(a), "=r"(b));
        add(std::uint64_t{a} << 16 | b);
        asm volatile("mov %%cs, %0\n\tmov %%ss, %1\n\tmov %%ds, %2\n\tmov %%es, %3"
                     : "=r"(a), "=r"(b), "=r"(c), "=r"(d));
        add(std::uint64_t{a} << 48 | std::uint64_t{b} << 32 | std::uint64_t{c} << 16 | d);
        std::uint64_t flags{};
        asm volatile("pushfq\n\tpop %0" : "=r"(flags));
        add(flags & ~std::uint64_t{0x8d5}); // all but the status flags
        std::uint64_t r[6]{};
        asm volatile(
            "mov %%dr0, %0\n\tmov %%dr1, %1\n\tmov %%dr2, %2\n\tmov %%dr3, %3\n\tmov %%dr6, %4\n\tmov %%dr7, %5"
            : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]), "=r"(r[4]), "=r"(r[5]));
        for (auto const value : r)
            add(value);
        add(host_.read_msr(x86::msr::ia32_tsc_aux).value);
        return v;
    }

  private:
    struct table {
        std::uint64_t base{};
        std::uint16_t limit{};
    };

    static constexpr std::size_t system_call_msrs{5};
    static constexpr std::array msrs{
        x86::msr::ia32_kernel_gs_base, x86::msr::ia32_star,         x86::msr::ia32_lstar,
        x86::msr::ia32_cstar,          x86::msr::ia32_fmask,        x86::msr::ia32_sysenter_cs,
        x86::msr::ia32_sysenter_esp,   x86::msr::ia32_sysenter_eip, x86::msr::ia32_fs_base,
        x86::msr::ia32_gs_base,        x86::msr::ia32_pat,          x86::msr::ia32_efer};
    static constexpr std::array<std::uint64_t, 10> patterns{
        0x7111'0000'1000,      0x0088'0099'1234'5678, 0xffff'9000'0000'1000, 0xffff'9000'0000'2000, 0x3f7fd5, 0x98,
        0xffff'9000'0000'3000, 0xffff'9000'0000'4000, 0x7111'0000'2000,      0x7111'0000'3000};

    template <char Which>
    [[nodiscard]] static auto table_register() -> table {
        struct [[gnu::packed]] {
            std::uint16_t limit;
            std::uint64_t base;
        } memory{};
        if constexpr (Which == 'g')
            asm volatile("sgdt %0" : "=m"(memory));
        else
            asm volatile("sidt %0" : "=m"(memory));
        return {memory.base, memory.limit};
    }
    [[nodiscard]] static auto read_xcr0() -> std::uint64_t {
        std::uint32_t low{}, high{};
        asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        return std::uint64_t{high} << 32 | low;
    }

    bare::host& host_;
};

} // namespace hv::test
