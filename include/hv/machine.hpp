// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/cpuid.hpp>
#include <hv/devices/device_set.hpp>
#include <hv/handlers.hpp>
#include <hv/memory/mapping.hpp>
#include <hv/memory/nested_leaf.hpp>
#include <hv/msr.hpp>
#include <hv/policy.hpp>
#include <hv/speculation_msrs.hpp>
#include <hv/trace.hpp>
#include <hv/x86/control_registers.hpp>

#include <array>
#include <concepts>
#include <cstdint>

namespace hv {

class lapic;
class ioapic;
class pic_8259;

/// What a machine names, with the values it has if it does not. Derive from it and override:
///
///     struct my_machine : hv::default_machine {
///         using backend = hv::svm;
///         using devices = hv::device_set<hv::lapic, hv::ioapic, hv::uart_16550<hv::uart_config{.base = 0x3f8, .irq =
///         4}>>;
///     };
struct default_machine {
    // using backend = …; has no default: name hv::svm or hv::vmx.

    /// The devices inside the hypervisor.
    using devices = device_set<>;
    /// The user's own exit handlers, asked in order before the built-in service.
    using handlers = exit_chain<>;
    /// Most virtual processors of one VM.
    static constexpr unsigned max_vcpus{1};
    /// Whether every device must have a saved form.
    static constexpr bool save_restore{true};
    /// Whether a VM ends when all its processors halt with interrupts off.
    static constexpr bool halt_detection{true};
    /// The leaves and features a guest sees; what no rule names reads as zeros.
    using cpuid = default_cpuid_profile;
    /// The MSRs a guest has beyond those of devices and backend; what no rule names raises #GP.
    using msrs = default_msr_policy;
    /// MSRs that the guest reads and writes without an exit; FS_BASE, GS_BASE and KERNEL_GS_BASE are worth it for
    /// guests that change threads without FSGSBASE. Their values are then the processor's to check, and QEMU's TCG
    /// checks none.
    static constexpr std::array<std::uint32_t, 0> direct_msrs{};
    static constexpr tsc_policy tsc{tsc_policy::offset};
    /// Hz of the guest's TSC where it is scaled or trapped; 0: that of the host on which the machine is made.
    static constexpr std::uint64_t tsc_frequency{0};
    /// Who plays the local APIC while the guest runs. What the guest sees is the same.
    static constexpr apic_policy apic{apic_policy::emulated};
    /// When nested page tables are filled: when memory is given to the machine, or when the guest first touches it.
    static constexpr fill memory_fill{fill::eager};
    /// The largest entries of the nested page tables; 1 GiB is for processors that have such pages.
    static constexpr leaf_size largest_leaf{leaf_size::two_mib};
    /// Refuses CR4.OSXSAVE and hides XSAVE from CPUID. False: guests have the states of `xcr0_allowed`, and the XSAVE
    /// part of CPUID follows from that.
    static constexpr bool hide_xsave{true};
    /// What guests may turn on in XCR0 where XSAVE is not hidden: x87 (1), SSE (2), AVX (4). A guest that gets at
    /// another state, because the processor does not intercept XSETBV, is stopped.
    static constexpr std::uint64_t xcr0_allowed{7};
    /// Where several vCPUs run. A host refuses a pinned machine that has more of them than it has processors.
    static constexpr scheduling_policy scheduling{scheduling_policy::shared};
    /// Whether PAUSE exits; worth it where several vCPUs wait for each other.
    static constexpr pause_policy pause{pause_policy::runs};
    static constexpr pause_loop pauses{};
    /// Whether the instructions that load and store GDTR, IDTR, LDTR and TR exit; for handlers of
    /// exits::descriptor_table.
    static constexpr descriptor_table_policy descriptor_tables{descriptor_table_policy::runs};
    /// What is done against side channels of speculation: of guests on the host, and of guests on each other.
    static constexpr mitigation_policy mitigations{mitigation_policy::defaults};
    /// Exceptions that exit and are given back, a bit each: #DB and #AC can loop inside the processor without end
    /// (CVE-2015-8104, CVE-2015-5307).
    static constexpr std::uint32_t intercepted_exceptions{1u << 1 | 1u << 17};
    /// What VMCALL and VMMCALL do without a handler of the user's: raise #UD, or answer -1 in RAX.
    static constexpr bool hypercalls{false};
    /// Whether each vCPU counts what it spends its time with: see hv::user_state. Costs two looks at the clock an exit.
    static constexpr bool user_states{false};
    /// no_trace, or trace_ring<N>.
    using trace = no_trace;
};

namespace detail {

template <typename Machine>
concept names_backend = requires { typename Machine::backend; };

template <typename Machine>
concept names_mitigations = std::same_as<decltype(Machine::mitigations), mitigation_policy const>;

template <typename... Devices>
consteval auto any_drives_a_line(meta::types<Devices...>) -> bool {
    return (line_device<Devices> or ...);
}

template <typename Profile>
consteval auto is_sorted_profile() -> bool {
    for (std::size_t i{1}; i < Profile::rules.size(); ++i) {
        auto const& a = Profile::rules[i - 1];
        auto const& b = Profile::rules[i];
        if (b.function < a.function or (b.function == a.function and (not a.match_index or b.index <= a.index)))
            return false;
    }
    return true;
}

template <typename Profile>
consteval auto names_leaf(std::uint32_t function) -> bool {
    for (auto const& rule : Profile::rules)
        if (rule.function == function)
            return true;
    return false;
}

/// Each check is a sentence. They stand in one class so that a machine fails before anything else is instantiated.
template <typename Machine>
struct machine_checks {
    static_assert(names_backend<Machine>, "a machine names its backend: using backend = hv::svm; or hv::vmx");
    static_assert(std::derived_from<Machine, default_machine>, "a machine derives from hv::default_machine");
    static_assert(names_mitigations<Machine>,
                  "mitigations is of type hv::mitigation_policy: mitigation_policy::none or defaults");
    static_assert(Machine::mitigations == mitigation_policy::defaults or
                      not shows_speculation_msrs<typename Machine::cpuid>(),
                  "a CPUID profile shows IA32_SPEC_CTRL or its like, which need mitigation_policy::defaults");
    static_assert(Machine::max_vcpus != 0, "a machine has at least one vCPU: max_vcpus must not be 0");
    static_assert(Machine::max_vcpus <= 254, "max_vcpus is at most 254: APIC ids are 8 bits wide and FFh means all");
    static_assert(not Machine::save_restore or Machine::devices::all_saveable,
                  "save_restore is on, but a device of this machine has no saved form (hv::saveable)");
    static_assert(Machine::devices::of_processor::size <= 1,
                  "a machine has at most one device of processor scope, the local APIC");
    static_assert((Machine::xcr0_allowed & x86::xcr0::x87) != 0, "xcr0_allowed lacks x87, which no XCR0 is without");
    static_assert((Machine::xcr0_allowed & x86::xcr0::avx) == 0 or (Machine::xcr0_allowed & x86::xcr0::sse) != 0,
                  "xcr0_allowed has AVX without SSE, which no XCR0 takes");
    static_assert((Machine::xcr0_allowed & ~(x86::xcr0::x87 | x86::xcr0::sse | x86::xcr0::avx)) == 0,
                  "xcr0_allowed names a state that guests cannot have: there are x87, SSE and AVX");
    static_assert(Machine::tsc != tsc_policy::offset or Machine::tsc_frequency == 0,
                  "tsc_frequency needs tsc_policy::scaled or trapped: an offset leaves the host's");
    static_assert(Machine::tsc_frequency == 0 or
                      (Machine::tsc_frequency >= 1'000'000 and Machine::tsc_frequency <= 10'000'000'000),
                  "tsc_frequency is in Hz, from 1 MHz to 10 GHz");
    static_assert(not any_drives_a_line(typename Machine::devices::all{}) or Machine::devices::template has<pic_8259> or
                      Machine::devices::template has<ioapic>,
                  "a device drives an interrupt line, but the machine has neither a pic_8259 nor an ioapic");
    static_assert(not Machine::devices::template has<ioapic> or Machine::devices::template has<lapic>,
                  "an ioapic needs a lapic in the same device_set");
    static_assert(Machine::max_vcpus == 1 or Machine::devices::template has<lapic>,
                  "several vCPUs need a lapic in the device_set: nothing else can start the second");
    static_assert(is_sorted_profile<typename Machine::cpuid>(),
                  "a CPUID profile is not sorted by function and index, or names a leaf twice");
    static_assert(Machine::hide_xsave or not names_leaf<typename Machine::cpuid>(0xd),
                  "a CPUID profile names leaf Dh, which follows from hide_xsave and xcr0_allowed");
    static constexpr bool ok{true};
};

/// What the backend must do, part by part.
template <typename Machine, typename Host>
struct backend_checks {
    using backend = typename Machine::backend;
    static_assert(vcpu_registers<typename backend::vcpu>,
                  "the machine's backend lacks a register operation: see hv::vcpu_registers");
    static_assert(vcpu_events<typename backend::vcpu>,
                  "the machine's backend lacks an event operation: see hv::vcpu_events");
    static_assert(hardware_backend<backend, Host>,
                  "the machine's backend lacks an operation: see hv::hardware_backend");
    static_assert(
        Machine::apic == apic_policy::emulated or runs_apics<backend> or requires { backend::has_no_processor; },
        "apic_policy::virtualised needs a backend that runs local APICs (hv::runs_apics): hv::vmx does");
    static constexpr bool ok{true};
};

} // namespace detail
} // namespace hv
