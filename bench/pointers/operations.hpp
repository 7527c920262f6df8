// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bench/pointers/exit_table.hpp>

#include <hv/address.hpp>
#include <hv/backends/backend.hpp>
#include <hv/event.hpp>
#include <hv/status.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <concepts>
#include <cstdint>

namespace hv::pointers {

/// A virtual processor that may know where the instruction behind the exit is.
template <typename V>
concept tells_next_rip = requires(V const& v) {
    { v.next_rip() } -> std::same_as<std::uint64_t>;
};

/// A backend as a table of functions, as a kernel has it that finds its processor when it is loaded: each operation of
/// hv::hardware_backend is one pointer.
template <typename Backend, typename Host>
struct operations {
    using processor = typename Backend::processor;
    using vm = typename Backend::vm;
    using vcpu = typename Backend::vcpu;

    status (*create_vm)(vm&, Host&, vm_controls const&);
    void (*destroy_vm)(vm&, Host&);
    status (*create)(vcpu&, Host&, vm const&);
    void (*destroy)(vcpu&, Host&);
    void (*attach)(vcpu&, Host&, processor&);
    void (*detach)(vcpu&, Host&, processor&);
    verdict (*enter)(Host&, processor&, vcpu&, exit_sink&);
    void (*dump)(vcpu const&, Host&);

    std::uint64_t (*gpr)(vcpu const&, x86::gpr);
    void (*set_gpr)(vcpu&, x86::gpr, std::uint64_t);
    std::uint64_t (*rip)(vcpu const&);
    void (*set_rip)(vcpu&, std::uint64_t);
    std::uint64_t (*rflags)(vcpu const&);
    void (*set_rflags)(vcpu&, std::uint64_t);
    std::uint64_t (*cr0)(vcpu const&);
    void (*set_cr0)(vcpu&, std::uint64_t);
    std::uint64_t (*cr2)(vcpu const&);
    void (*set_cr2)(vcpu&, std::uint64_t);
    std::uint64_t (*cr3)(vcpu const&);
    void (*set_cr3)(vcpu&, std::uint64_t);
    std::uint64_t (*cr4)(vcpu const&);
    void (*set_cr4)(vcpu&, std::uint64_t);
    std::uint64_t (*efer)(vcpu const&);
    void (*set_efer)(vcpu&, std::uint64_t);
    std::uint64_t (*xcr0)(vcpu const&);
    void (*set_xcr0)(vcpu&, std::uint64_t);
    std::uint64_t (*debug_register)(vcpu const&, unsigned);
    void (*set_debug_register)(vcpu&, unsigned, std::uint64_t);
    x86::segment (*segment)(vcpu const&, x86::segment_name);
    void (*set_segment)(vcpu&, x86::segment_name, x86::segment const&);
    x86::descriptor_table (*gdtr)(vcpu const&);
    void (*set_gdtr)(vcpu&, x86::descriptor_table const&);
    x86::descriptor_table (*idtr)(vcpu const&);
    void (*set_idtr)(vcpu&, x86::descriptor_table const&);
    std::uint8_t (*cpl)(vcpu const&);
    result<std::uint64_t> (*msr)(vcpu const&, std::uint32_t);
    status (*set_msr)(vcpu&, std::uint32_t, std::uint64_t);
    std::array<std::uint64_t, 3> (*fetch_state)(vcpu const&);
    std::uint8_t (*opcode_length)(vcpu const&);

    void (*inject)(vcpu&, event);
    bool (*injection_pending)(vcpu const&);
    event (*withdraw_injection)(vcpu&);
    event (*take_interrupted_event)(vcpu&);
    bool (*interrupt_shadow)(vcpu const&);
    void (*set_interrupt_shadow)(vcpu&, bool);
    bool (*nmi_blocked)(vcpu const&);
    void (*set_nmi_blocked)(vcpu&, bool);
    void (*request_interrupt_window)(vcpu&, bool);
    void (*request_nmi_window)(vcpu&);
    std::uint8_t (*task_priority)(vcpu const&);
    void (*set_task_priority)(vcpu&, std::uint8_t);
    void (*watch_task_priority)(vcpu&, bool);

    std::uint8_t (*instruction_length)(vcpu const&);
    std::uint64_t (*next_rip)(vcpu const&);
    void (*set_tsc_offset)(vcpu&, std::uint64_t);
    void (*flush_translations)(vcpu&);
};

/// The table that a backend registers.
template <typename Backend, typename Host>
inline constexpr operations<Backend, Host> operations_of = [] {
    using processor = typename Backend::processor;
    using vm = typename Backend::vm;
    using vcpu = typename Backend::vcpu;
    operations<Backend, Host> table{
        .create_vm = [](vm& m, Host& host, vm_controls const& controls) { return m.create(host, controls); },
        .destroy_vm = [](vm& m, Host& host) { m.destroy(host); },
        .create = [](vcpu& v, Host& host, vm const& machine) { return v.create(host, machine); },
        .destroy = [](vcpu& v, Host& host) { v.destroy(host); },
        .attach = [](vcpu& v, Host& host, processor& on) { v.attach(host, on); },
        .detach = [](vcpu& v, Host& host, processor& from) { v.detach(host, from); },
        .enter = [](Host& host, processor& on, vcpu& v,
                    exit_sink& handler) { return Backend::enter(host, on, v, handler); },
        .dump = [](vcpu const& v, Host& host) { v.dump(host); },

        .gpr = [](vcpu const& v, x86::gpr name) { return v.gpr(name); },
        .set_gpr = [](vcpu& v, x86::gpr name, std::uint64_t value) { v.set_gpr(name, value); },
        .rip = [](vcpu const& v) { return v.rip(); },
        .set_rip = [](vcpu& v, std::uint64_t value) { v.set_rip(value); },
        .rflags = [](vcpu const& v) { return v.rflags(); },
        .set_rflags = [](vcpu& v, std::uint64_t value) { v.set_rflags(value); },
        .cr0 = [](vcpu const& v) { return v.cr0(); },
        .set_cr0 = [](vcpu& v, std::uint64_t value) { v.set_cr0(value); },
        .cr2 = [](vcpu const& v) { return v.cr2(); },
        .set_cr2 = [](vcpu& v, std::uint64_t value) { v.set_cr2(value); },
        .cr3 = [](vcpu const& v) { return v.cr3(); },
        .set_cr3 = [](vcpu& v, std::uint64_t value) { v.set_cr3(value); },
        .cr4 = [](vcpu const& v) { return v.cr4(); },
        .set_cr4 = [](vcpu& v, std::uint64_t value) { v.set_cr4(value); },
        .efer = [](vcpu const& v) { return v.efer(); },
        .set_efer = [](vcpu& v, std::uint64_t value) { v.set_efer(value); },
        .xcr0 = [](vcpu const& v) { return v.xcr0(); },
        .set_xcr0 = [](vcpu& v, std::uint64_t value) { v.set_xcr0(value); },
        .debug_register = [](vcpu const& v, unsigned number) { return v.debug_register(number); },
        .set_debug_register = [](vcpu& v, unsigned number,
                                 std::uint64_t value) { v.set_debug_register(number, value); },
        .segment = [](vcpu const& v, x86::segment_name name) { return v.segment(name); },
        .set_segment = [](vcpu& v, x86::segment_name name, x86::segment const& value) { v.set_segment(name, value); },
        .gdtr = [](vcpu const& v) { return v.gdtr(); },
        .set_gdtr = [](vcpu& v, x86::descriptor_table const& value) { v.set_gdtr(value); },
        .idtr = [](vcpu const& v) { return v.idtr(); },
        .set_idtr = [](vcpu& v, x86::descriptor_table const& value) { v.set_idtr(value); },
        .cpl = [](vcpu const& v) { return v.cpl(); },
        .msr = [](vcpu const& v, std::uint32_t index) { return v.msr(index); },
        .set_msr = [](vcpu& v, std::uint32_t index, std::uint64_t value) { return v.set_msr(index, value); },
        .fetch_state = nullptr,
        .opcode_length = nullptr,

        .inject = [](vcpu& v, event e) { v.inject(e); },
        .injection_pending = [](vcpu const& v) { return v.injection_pending(); },
        .withdraw_injection = [](vcpu& v) { return v.withdraw_injection(); },
        .take_interrupted_event = [](vcpu& v) { return v.take_interrupted_event(); },
        .interrupt_shadow = [](vcpu const& v) { return v.interrupt_shadow(); },
        .set_interrupt_shadow = [](vcpu& v, bool on) { v.set_interrupt_shadow(on); },
        .nmi_blocked = [](vcpu const& v) { return v.nmi_blocked(); },
        .set_nmi_blocked = [](vcpu& v, bool on) { v.set_nmi_blocked(on); },
        .request_interrupt_window = [](vcpu& v, bool on) { v.request_interrupt_window(on); },
        .request_nmi_window = [](vcpu& v) { v.request_nmi_window(); },
        .task_priority = [](vcpu const& v) { return v.task_priority(); },
        .set_task_priority = [](vcpu& v, std::uint8_t priority) { v.set_task_priority(priority); },
        .watch_task_priority = [](vcpu& v, bool on) { v.watch_task_priority(on); },

        .instruction_length = [](vcpu const& v) { return v.instruction_length(); },
        .next_rip = nullptr,
        .set_tsc_offset = [](vcpu& v, std::uint64_t value) { v.set_tsc_offset(value); },
        .flush_translations = [](vcpu& v) { v.flush_translations(); },
    };
    if constexpr (tells_next_rip<vcpu>)
        table.next_rip = [](vcpu const& v) { return v.next_rip(); };
    if constexpr (remembers_code<vcpu>)
        table.fetch_state = [](vcpu const& v) { return v.fetch_state(); };
    if constexpr (knows_opcodes<vcpu>)
        table.opcode_length = [](vcpu const& v) { return v.opcode_length(); };
    return table;
}();

} // namespace hv::pointers
