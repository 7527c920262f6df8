// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/svm.hpp>
#include <hv/backends/vmx.hpp>
#include <hv/devices/pc.hpp>
#include <hv/vmm.hpp>

/// The machine of ./hv demo: what Debian expects of a PC without PCI.
struct pc : hv::default_machine {
    using backend = hv::svm;
    using devices = hv::device_set<hv::lapic, hv::ioapic, hv::pic_8259, hv::pit_8254, hv::hpet, hv::pm_timer,
                                   hv::rtc_mc146818, hv::uart_16550<hv::uart_config{.base = 0x3f8, .irq = 4}>,
                                   hv::keyboard_controller, hv::exit_port, hv::debug_port>;
};

/// The same machine on Intel's processors: nothing else changes.
struct pc_vmx : pc {
    using backend = hv::vmx;
};

/// The same machine, keeping its last exits for ./hv run --trace.
struct pc_trace : pc {
    using trace = hv::trace_ring<65536>;
};

/// Tracing on Intel's processors.
struct pc_vmx_trace : pc_trace {
    using backend = hv::vmx;
};

/// Several processors, as many of them as the image is told.
struct pc_smp : pc {
    static constexpr unsigned max_vcpus{8};
    static constexpr hv::pause_policy pause{hv::pause_policy::loop_exits};
};
struct pc_vmx_smp : pc_smp {
    using backend = hv::vmx;
};
