// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/svm/registers.hpp>
#include <hv/backends/svm/vmcb.hpp>
#include <hv/text.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace hv::backends::svm {

/// One value of a dump line.
struct dump_item {
    std::string_view name;
    std::uint64_t value;
    unsigned digits;
};

template <typename Host>
[[gnu::cold]] void dump_line(Host& host, std::span<dump_item const> items) {
    text_line<> line;
    line.text("svm");
    for (auto const& item : items)
        line.character(' ').text(item.name).character('=').hex(item.value, item.digits);
    host.log(line.view());
}

/// Logs a VMCB and the registers beside it.
template <typename Host>
[[gnu::cold]] void dump(Host& host, registers const& cpu, vmcb const& block) {
    auto const& c = block.control;
    auto const& s = block.save;
    auto const line = [&host](auto const&... items) {
        std::array<dump_item, sizeof...(items)> const list{items...};
        dump_line(host, list);
    };
    using item = dump_item;
    line(item{"exitcode", c.exitcode, 3}, item{"exitinfo1", c.exitinfo1, 16}, item{"exitinfo2", c.exitinfo2, 16},
         item{"exitintinfo", c.exitintinfo, 16});
    line(item{"eventinj", c.eventinj, 16}, item{"v_intr", c.v_intr, 16},
         item{"interrupt_shadow", c.interrupt_shadow, 1}, item{"nrip", c.nrip, 16});
    line(item{"intercept_cr", c.intercept_cr, 8}, item{"dr", c.intercept_dr, 8},
         item{"exceptions", c.intercept_exceptions, 8}, item{"misc1", c.intercept_misc1, 8},
         item{"misc2", c.intercept_misc2, 8}, item{"misc3", c.intercept_misc3, 8});
    line(item{"iopm", c.iopm_base_pa, 16}, item{"msrpm", c.msrpm_base_pa, 16}, item{"tsc_offset", c.tsc_offset, 16});
    line(item{"asid", c.guest_asid, 1}, item{"tlb_control", c.tlb_control, 1}, item{"np_enable", c.np_enable, 1},
         item{"n_cr3", c.n_cr3, 16}, item{"clean_bits", c.clean_bits, 4});

    static constexpr std::array<std::string_view, x86::gpr_count> gprs{
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
    for (unsigned i{0}; i < x86::gpr_count; i += 4)
        line(item{gprs[i], cpu.gpr(static_cast<x86::gpr>(i)), 16},
             item{gprs[i + 1], cpu.gpr(static_cast<x86::gpr>(i + 1)), 16},
             item{gprs[i + 2], cpu.gpr(static_cast<x86::gpr>(i + 2)), 16},
             item{gprs[i + 3], cpu.gpr(static_cast<x86::gpr>(i + 3)), 16});
    line(item{"rip", s.rip, 16}, item{"rflags", s.rflags, 8}, item{"cpl", s.cpl, 1}, item{"efer", s.efer, 8});
    line(item{"cr0", s.cr0, 8}, item{"cr2", s.cr2, 16}, item{"cr3", s.cr3, 16}, item{"cr4", s.cr4, 8},
         item{"dr6", s.dr6, 8}, item{"dr7", s.dr7, 8});
    line(item{"guest cr0", cpu.cr0(), 8}, item{"guest efer", cpu.efer(), 8}, item{"xcr0", cpu.xcr0(), 16});
    auto const segment = [&line](std::string_view name, vmcb_segment const& v) {
        line(item{name, v.selector, 4}, item{"attributes", v.attributes, 4}, item{"limit", v.limit, 8},
             item{"base", v.base, 16});
    };
    segment("cs", s.cs);
    segment("ss", s.ss);
    segment("ds", s.ds);
    segment("es", s.es);
    segment("fs", s.fs);
    segment("gs", s.gs);
    segment("ldtr", s.ldtr);
    segment("tr", s.tr);
    segment("gdtr", s.gdtr);
    segment("idtr", s.idtr);
    line(item{"star", s.star, 16}, item{"lstar", s.lstar, 16}, item{"cstar", s.cstar, 16},
         item{"sfmask", s.sfmask, 16});
    line(item{"kernel_gs_base", s.kernel_gs_base, 16}, item{"sysenter_cs", s.sysenter_cs, 16},
         item{"sysenter_esp", s.sysenter_esp, 16}, item{"sysenter_eip", s.sysenter_eip, 16});
    line(item{"g_pat", s.g_pat, 16}, item{"dbgctl", s.dbgctl, 16}, item{"spec_ctrl", s.spec_ctrl, 16});
}

} // namespace hv::backends::svm
