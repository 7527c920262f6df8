// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/event.hpp>
#include <hv/exit.hpp>
#include <hv/x86/registers.hpp>

#include <cstdint>
#include <functional>
#include <variant>

namespace hv::backends::fake {
class vcpu;
}

/// What a guest of the fake backend does, one instruction a step.
namespace hv::script {

/// Any exit but those that a backend makes on its own account.
using any_exit =
    std::variant<exits::io_port, exits::cpuid, exits::hlt, exits::msr_read, exits::msr_write, exits::nested_page_fault,
                 exits::control_register, exits::debug_register, exits::exception, exits::hypercall,
                 exits::undefined_instruction, exits::xsetbv, exits::cache_control, exits::descriptor_table,
                 exits::pause, exits::monitor, exits::mwait, exits::tsc_read, exits::rdpmc, exits::apic_write,
                 exits::end_of_interrupt, exits::interrupt_window, exits::nmi_window, exits::host_interrupt,
                 exits::deadline, exits::machine_check, exits::task_switch, exits::triple_fault, exits::entry_failed,
                 exits::isolation_broken, exits::unknown>;

/// An instruction that exits. It executes again until somebody moves RIP or injects an event, as on a processor.
struct exit {
    any_exit what;
    std::uint8_t length{2};
    event interrupts{}; ///< the exit came in the middle of this delivery, of the guest's own
};

/// MOV to a register.
struct set {
    x86::gpr name;
    std::uint64_t value;
};

/// POPF. Bits that the processor fixes are fixed.
struct set_flags {
    std::uint64_t value;
};

/// STI: interrupts on, behind one instruction of shadow.
struct sti {};

/// MOV to CR8, which exits only while somebody watches the task priority.
struct move_to_cr8 {
    x86::gpr from;
};

/// Loads 1, 2, 4 or 8 bytes of guest-physical memory into a register.
struct load {
    gpa from;
    std::uint8_t size{8};
    x86::gpr into{x86::gpr::rax};
};

struct store {
    gpa to;
    std::uint64_t value;
    std::uint8_t size{8};
};

/// Executes code at this address.
struct fetch {
    gpa from;
};

/// Ends an interrupt or NMI handler: NMIs unblocked, and back to what was interrupted. Where that did not go to a
/// handler of its own, interrupts are on.
struct iret {};

/// The delivery of the next injected event causes this exit instead of reaching the guest.
struct delivery_exits {
    any_exit what;
};

/// Computes until a host interrupt comes; gives up after some seconds.
struct spin {};

/// Whatever a test wants done in place of an instruction. It may jump, and must not start another script.
struct act {
    std::function<void(backends::fake::vcpu&)> what;
};

/// Computes until that is true; takes interrupts meanwhile. Nothing gives up: the test has to.
struct wait {
    std::function<bool()> until;
};

/// One step. A script that ends shuts the guest down: exits::triple_fault.
using step =
    std::variant<exit, set, set_flags, sti, move_to_cr8, load, store, fetch, iret, delivery_exits, spin, act, wait>;

} // namespace hv::script
