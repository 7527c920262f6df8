// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/backends/svm/decode.hpp>
#include <hv/backends/svm/probe.hpp>
#include <hv/backends/svm/processor.hpp>
#include <hv/backends/svm/vcpu.hpp>
#include <hv/backends/svm/vm.hpp>
#include <hv/backends/svm/world_switch.hpp>
#include <hv/exit.hpp>
#include <hv/memory/npt.hpp>

namespace hv {

/// AMD's virtualisation, over any means of executing VMRUN: the instruction, or a model of it in tests.
///
/// What a guest may change and VMRUN, VMLOAD and VMSAVE do not exchange: DR0-3, TSC_AUX and the TSC ratio move at
/// attach and detach, XCR0 at each entry and XSS if the host has one (unless XSAVE is hidden), PKRU and the user half
/// of CET stay out of reach because CR4.PKE and CR4.CET do. SPEC_CTRL, DEBUGCTL and every other MSR stay the host's:
/// writes exit, and no machine can ask for them as direct MSRs.
template <typename WorldSwitch>
struct basic_svm {
    static constexpr char const* name{"svm"};
    static constexpr hv::tsc_scaling tsc_scaling{
        .feature = "the TSC ratio MSR (CPUID 8000_000Ah EDX bit 4)", .integer_bits = 8, .fraction_bits = 32};
    using nested_format = npt_format;
    using processor = backends::svm::processor;
    using vm = backends::svm::vm;
    using vcpu = backends::svm::vcpu<WorldSwitch>;

    template <typename Host, typename Handler>
    [[nodiscard, gnu::always_inline]] static auto enter(Host& host, processor& on, vcpu& cpu, Handler& handler)
        -> verdict {
        if (not cpu.template run<mitigates<Handler>>(host, on)) [[unlikely]]
            return handler.on(exits::isolation_broken{.reason = "XCR0 holds a state that the machine hides"});
        return backends::svm::decode(host, cpu, handler);
    }

    /// Finds out what CPUID does not tell: whether XSETBV exits. Once after `processor.enable`, on that processor.
    template <typename Host>
    static void try_out(Host& host, processor& on) {
        if (on.has().xsave)
            on.note_xsetbv_exits(backends::svm::xsetbv_exits<basic_svm>(host, on));
    }
};

/// The backend for AMD processors, and for QEMU's TCG and Bochs's ryzen.
struct svm : basic_svm<backends::svm::world_switch> {};

} // namespace hv
