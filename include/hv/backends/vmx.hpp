// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/backends/vmx/decode.hpp>
#include <hv/backends/vmx/processor.hpp>
#include <hv/backends/vmx/vcpu.hpp>
#include <hv/backends/vmx/vm.hpp>
#include <hv/backends/vmx/world_switch.hpp>
#include <hv/exit.hpp>
#include <hv/memory/ept.hpp>

namespace hv {

/// Intel's virtualisation, over any means of executing VMX instructions: the processor, or a model of it in tests.
///
/// What a guest may change and VM entries and exits do not exchange: DR0-3, DR6, TSC_AUX, the SYSCALL MSRs and
/// KERNEL_GS_BASE move at attach and detach; CR2 at each entry, and XCR0 unless XSAVE is hidden. PKRU and CET stay out
/// of reach because CR4.PKE and CR4.CET do, XSS because XSAVES and XRSTORS are undefined or work with 0. SPEC_CTRL,
/// DEBUGCTL and every other MSR stay the host's: writes exit, and no machine can ask for them as direct MSRs.
template <typename WorldSwitch>
struct basic_vmx {
    static constexpr char const* name{"vmx"};
    static constexpr hv::tsc_scaling tsc_scaling{.feature =
                                                     "use TSC scaling (secondary processor-based controls, bit 25)",
                                                 .integer_bits = 16,
                                                 .fraction_bits = 48};
    using nested_format = ept_format;
    using processor = backends::vmx::processor<WorldSwitch>;
    using vm = backends::vmx::vm;
    using vcpu = backends::vmx::vcpu<WorldSwitch>;

    template <typename Host, typename Handler>
    [[nodiscard, gnu::always_inline]] static auto enter(Host& host, processor& on, vcpu& cpu, Handler& handler)
        -> verdict {
        if (not cpu.template run<may_run_apic<Handler>, mitigates<Handler>>(host, on)) [[unlikely]] {
            if (cpu.holds_hidden_states())
                return handler.on(exits::isolation_broken{.reason = "XCR0 holds a state that the machine hides"});
            return handler.on(exits::entry_failed{.reason = backends::vmx::why_entry_fails(cpu)});
        }
        return backends::vmx::decode<WorldSwitch>(host, cpu, handler);
    }
};

/// The backend for Intel processors, and for Bochs's models of them.
struct vmx : basic_vmx<backends::vmx::world_switch> {};

} // namespace hv
