// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <examples/minimal/minimal.hpp>

#include <hv/text.hpp>

/// An exit handler of one's own: it logs each CPUID, and lets the built-in service answer all but one leaf.
struct log_cpuid_handler {
    auto on(hv::exits::cpuid const&, auto& cpu) -> hv::verdict {
        auto const leaf = static_cast<std::uint32_t>(cpu.gpr(hv::x86::gpr::rax));
        cpu.host().log(hv::text_line<>{}.text("CPUID leaf 0x").hex(leaf).view());
        if (leaf != 0x40000000)
            return hv::verdict::not_mine;
        cpu.set_gpr(hv::x86::gpr::rax, 0x40000000);
        cpu.set_gpr(hv::x86::gpr::rbx, 0x656d6f73); // "some"
        cpu.set_gpr(hv::x86::gpr::rcx, 0);
        cpu.set_gpr(hv::x86::gpr::rdx, 0);
        return hv::verdict::advance;
    }
};

struct log_cpuid : minimal {
    using handlers = hv::exit_chain<log_cpuid_handler>;
};
