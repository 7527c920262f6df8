// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/speculation.hpp>
#include <hv/event.hpp>
#include <hv/exit.hpp>
#include <hv/policy.hpp>
#include <hv/status.hpp>
#include <hv/tsc_ratio.hpp>
#include <hv/x86/apic.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

/// The seam to hardware virtualisation: what vmm_ops is to the reference interface, as a concept. svm, vmx and fake
/// model it; nothing above this file knows which one it has.
namespace hv {

/// What one machine wants of its processor, fixed for the life of a VM. Constexpr data of the machine, handed down.
struct vm_controls {
    hpa nested_root{};                      ///< root of the nested page tables
    std::uint32_t intercepted_exceptions{}; ///< bit per vector, beyond those that isolation needs
    std::span<std::uint32_t const>
        direct_msrs{};         ///< read and written by the guest without an exit; the backend switches them
    bool trap_tsc{};           ///< RDTSC, RDTSCP and IA32_TSC exit
    std::uint64_t tsc_ratio{}; ///< of the guest's TSC to the host's, see hv::tsc_scaling; 0: they count alike
    pause_policy pause{pause_policy::runs};
    pause_loop pauses{};           ///< of pause_policy::loop_exits
    bool trap_descriptor_tables{}; ///< LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT and STR exit
    bool shows_rdtscp{true};       ///< the guest's CPUID has RDTSCP or RDPID; else they are undefined
    bool shows_invpcid{true};      ///< and INVPCID
    bool shows_xsaves{};           ///< XSAVES and XRSTORS, without any supervisor state
    bool hide_xsave{};             ///< CR4.OSXSAVE is refused and XCR0 stays the host's
    std::uint64_t xcr0_allowed{7}; ///< else: a guest that comes out of a world switch with another state is stopped
    bool run_apic{};               ///< the processor runs local APICs: see hv::runs_apics
    std::uint64_t apic_readable{}; ///< then: the registers, a bit each, that it answers for in x2APIC mode
};

/// What the processor can do, found at start-up and printed. The text names what it lacks when it does not suffice.
struct processor_report {
    status verdict{status::ok};
    std::string_view missing{}; ///< empty, or the feature whose absence refuses this processor
    bool next_rip{};            ///< instruction lengths come with the exit
    bool decode_assist{};
    bool flush_by_asid{};
    bool clean_bits{};
    bool tsc_scaling{};
    bool xsaves{};                       ///< guests that have XSAVE can have XSAVES
    bool pause_loops{};                  ///< a loop of PAUSE can exit
    bool bounded_stay{};                 ///< the processor ends a guest's stay at a given time itself
    bool xsetbv_intercepted{};           ///< tried and seen: some emulators ignore the intercept. False if nobody tried
    std::uint32_t address_spaces{};      ///< ASIDs or VPIDs
    backends::speculation speculation{}; ///< what mitigation_policy::defaults goes by
};

/// The guest state of one virtual processor, wherever the hardware keeps it. Values are what the guest sees.
template <typename V>
concept vcpu_registers =
    requires(V& v, V const& c, x86::gpr gpr, x86::segment_name name, x86::segment const& segment,
             x86::descriptor_table const& table, std::uint64_t value, std::uint32_t msr, unsigned number) {
        { c.gpr(gpr) } -> std::same_as<std::uint64_t>;
        { v.set_gpr(gpr, value) } -> std::same_as<void>;
        { c.rip() } -> std::same_as<std::uint64_t>;
        { v.set_rip(value) } -> std::same_as<void>;
        { c.rflags() } -> std::same_as<std::uint64_t>;
        { v.set_rflags(value) } -> std::same_as<void>;
        { c.cr0() } -> std::same_as<std::uint64_t>;
        { v.set_cr0(value) } -> std::same_as<void>; // no architectural checks: the caller made them
        { c.cr2() } -> std::same_as<std::uint64_t>;
        { v.set_cr2(value) } -> std::same_as<void>;
        { c.cr3() } -> std::same_as<std::uint64_t>;
        { v.set_cr3(value) } -> std::same_as<void>;
        { c.cr4() } -> std::same_as<std::uint64_t>;
        { v.set_cr4(value) } -> std::same_as<void>;
        { c.efer() } -> std::same_as<std::uint64_t>;
        { v.set_efer(value) } -> std::same_as<void>;
        { c.xcr0() } -> std::same_as<std::uint64_t>;
        { v.set_xcr0(value) } -> std::same_as<void>; // in force while the guest runs, unless XSAVE is hidden
        { c.debug_register(number) } -> std::same_as<std::uint64_t>; // 0-3, 6, 7
        { v.set_debug_register(number, value) } -> std::same_as<void>;
        { c.segment(name) } -> std::same_as<x86::segment>;
        { v.set_segment(name, segment) } -> std::same_as<void>;
        { c.gdtr() } -> std::same_as<x86::descriptor_table>;
        { v.set_gdtr(table) } -> std::same_as<void>;
        { c.idtr() } -> std::same_as<x86::descriptor_table>;
        { v.set_idtr(table) } -> std::same_as<void>;
        { c.cpl() } -> std::same_as<std::uint8_t>;
        // MSRs that the hardware state holds: the SYSCALL and SYSENTER families, FS/GS/KERNEL_GS base, PAT.
        // invalid_argument for any other; the value was checked by the caller.
        { c.msr(msr) } -> std::same_as<result<std::uint64_t>>;
        { v.set_msr(msr, value) } -> std::same_as<status>;
    };

/// A virtual processor that answers cheaply whether instructions are fetched as before.
template <typename V>
concept remembers_code = requires(V const& c) {
    { c.fetch_state() } -> std::same_as<std::array<std::uint64_t, 3>>;
};

/// One whose exits may not tell the length of their instruction, but its opcode.
template <typename V>
concept knows_opcodes = remembers_code<V> and requires(V const& c) {
    { c.opcode_length() } -> std::same_as<std::uint8_t>; // of the last exit's instruction, if it begins with 0Fh, or 0
};

/// Event delivery of one virtual processor.
template <typename V>
concept vcpu_events = requires(V& v, V const& c, event e, bool on, std::uint8_t priority) {
    /// Puts an event into the delivery slot of the next entry, which must be free. `instruction_length` is of use to
    /// software events only.
    { v.inject(e) } -> std::same_as<void>;
    { c.injection_pending() } -> std::same_as<bool>;
    /// Takes back what waits in the slot: an invalid event if nothing does.
    { v.withdraw_injection() } -> std::same_as<event>;
    /// The event whose delivery the last exit interrupted, once; invalid if none.
    { v.take_interrupted_event() } -> std::same_as<event>;
    { c.interrupt_shadow() } -> std::same_as<bool>; // STI or MOV SS just executed
    { v.set_interrupt_shadow(on) } -> std::same_as<void>;
    { c.nmi_blocked() } -> std::same_as<bool>; // between an NMI and its IRET
    { v.set_nmi_blocked(on) } -> std::same_as<void>;
    { v.request_interrupt_window(on) } -> std::same_as<void>; // exit as soon as RFLAGS.IF and no shadow
    {
        v.request_nmi_window()
    } -> std::same_as<void>; // exit as soon as no shadow holds an NMI back; asked at each entry
    { c.task_priority() } -> std::same_as<std::uint8_t>; // CR8, 0-15
    { v.set_task_priority(priority) } -> std::same_as<void>;
    /// An exit when the guest moves CR8: something waits for its priority to fall. Without it CR8 moves unseen.
    { v.watch_task_priority(on) } -> std::same_as<void>;
};

/// A vCPU whose processor may have a timer that runs in the guest only. Backends need none: without it the host's timer
/// interrupt ends the stay.
template <typename V>
concept bounds_stay = requires(V& v, V const& c, std::uint64_t tsc, std::uint32_t ticks) {
    { c.can_bound_stay() } -> std::same_as<bool>; // this processor has it
    /// exits::deadline once host::tsc, which all processors agree on, has passed `tsc`, in this stay or a later one;
    /// but not before `ticks` of the next stay: 0 lets no instruction execute behind an event that is delivered.
    { v.bound_stay(tsc, ticks) } -> std::same_as<void>;
};

/// As which local APIC the processor answers while the guest runs.
enum class virtual_apic : std::uint8_t { off, xapic, x2apic };

/// A backend whose processor can run the local APIC of a guest on a page of its registers. In the guest it answers
/// reads from the page, changes TPR, ISR, IRR and ICR there, and delivers what IRR holds; exits::apic_write tells of
/// other writes, exits::end_of_interrupt of each end of a vector whose TMR bit is set. What it does not know about is a
/// fault at the APIC's address or an MSR exit. Backends need none of it.
template <typename B>
concept runs_apics =
    requires(typename B::vm const& machine, typename B::vcpu& vcpu, typename B::vcpu const& constant, virtual_apic as) {
        { machine.apic_window() } -> std::same_as<hpa>; ///< belongs at the APIC's address where all vCPUs run as xAPIC
        { vcpu.apic_page() } -> std::same_as<x86::apic::page&>;
        { vcpu.run_apic(as) } -> std::same_as<void>;
        { constant.runs_apic_as() } -> std::same_as<virtual_apic>;
    };

/// The handler that concepts are checked with: it serves every exit.
struct leave_always {
    constexpr auto on(auto const&) -> verdict { return verdict::leave; }
};

/// Whether the machine behind a handler may let the processor run its local APIC. Where it may not, no code is left.
template <typename Handler>
inline constexpr bool may_run_apic = [] {
    if constexpr (requires { Handler::runs_apic; })
        return Handler::runs_apic;
    else
        return true;
}();

/// Whether the machine behind a handler may have the descriptor-table instructions exit. The same holds.
template <typename Handler>
inline constexpr bool may_trap_descriptor_tables = [] {
    if constexpr (requires { Handler::traps_descriptor_tables; })
        return Handler::traps_descriptor_tables;
    else
        return true;
}();

/// Whether the machine behind a handler has mitigations. Where it does not, no code is left on the way of an exit; a
/// handler that does not say belongs to no machine.
template <typename Handler>
inline constexpr bool mitigates = [] {
    if constexpr (requires { Handler::mitigates; })
        return Handler::mitigates;
    else
        return false;
}();

/// Something that serves exits: one `on` for each kind, found at compile time.
template <typename Handler, typename Exit>
concept serves = requires(Handler& handler, Exit const& exit) {
    { handler.on(exit) } -> std::same_as<verdict>;
};

/// A hardware-virtualisation backend, seen through one host.
///
/// Life cycle: `processor.enable` on each logical processor; `vm.create`; `vcpu.create`; then for each stretch of
/// running `attach`, any number of `enter`, `detach` (`attach` loads, `detach` stores the guest state that world
/// switches leave in the processor: debug registers, TSC_AUX, XCR0). `enter` runs the guest until one exit, decodes it
/// once, and calls `handler.on(exits::…)` directly; host interrupts have been taken when it does.
template <typename B, typename Host>
concept hardware_backend = vcpu_registers<typename B::vcpu> and vcpu_events<typename B::vcpu> and
                           requires(Host& host, typename B::processor& processor, typename B::vm& vm,
                                    typename B::vcpu& vcpu, typename B::vcpu const& constant,
                                    vm_controls const& controls, leave_always& handler, std::uint64_t value) {
                               typename B::nested_format; ///< the entry format of its nested page tables (hv/memory)
                               { B::name } -> std::convertible_to<char const*>;
                               { B::tsc_scaling } -> std::convertible_to<tsc_scaling const&>;
                               {
                                   processor.examine(host)
                               } -> std::same_as<processor_report>; ///< looks, changes nothing that stays
                               { processor.enable(host) } -> std::same_as<status>;
                               { processor.disable(host) } -> std::same_as<void>;
                               { vm.create(host, controls) } -> std::same_as<status>;
                               { vm.destroy(host) } -> std::same_as<void>;
                               { vcpu.create(host, vm) } -> std::same_as<status>;
                               { vcpu.destroy(host) } -> std::same_as<void>;
                               { vcpu.attach(host, processor) } -> std::same_as<void>;
                               { vcpu.detach(host, processor) } -> std::same_as<void>;
                               { B::enter(host, processor, vcpu, handler) } -> std::same_as<verdict>;
                               {
                                   constant.instruction_length()
                               } -> std::same_as<std::uint8_t>; ///< of the last exit; 0: decode it yourself
                               { vcpu.set_tsc_offset(value) } -> std::same_as<void>;
                               {
                                   vcpu.flush_translations()
                               } -> std::same_as<void>; ///< before the next entry, all of this vCPU
                               {
                                   constant.dump(host)
                               } -> std::same_as<void>; ///< the whole hardware state, in log lines
                           };

} // namespace hv
