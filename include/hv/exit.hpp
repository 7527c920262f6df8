// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/x86/exception.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <cstdint>

namespace hv {

/// What happens to the guest after an exit was served.
enum class [[nodiscard]] verdict : std::uint8_t {
    resume,   ///< enter again at the same instruction (or where the handler put RIP)
    advance,  ///< enter again behind the instruction that caused the exit
    again,    ///< enter again at once: the guest's registers moved and nothing else; of built-in services only
    leave,    ///< give control back to the caller of run
    not_mine, ///< of a user's handler only: ask the next one
};

/// The instruction bytes that the processor delivered with an exit; none where it has no decode assistance.
struct instruction_bytes {
    std::array<std::uint8_t, 15> bytes{};
    std::uint8_t count{};
};

/// Why a guest stopped running, without vendor words. A backend decodes its exit once into one of these and calls the
/// handler's `on` for it. `name` is what statistics print.
namespace exits {

/// IN, OUT, INS, OUTS. String forms carry no memory address: the handler computes it from the registers. Structs of up
/// to 16 bytes are packed into two registers where they are returned, which costs more than all that an IN does: this
/// one is larger.
struct io_port {
    static constexpr char const* name{"io_port"};
    std::uint16_t port;
    unsigned size; ///< 1, 2 or 4 bytes
    bool in;
    bool string;
    bool rep;
    unsigned address_size;     ///< 2, 4 or 8 bytes; 0 where the processor does not say
    x86::segment_name segment; ///< of OUTS, where the processor says; else DS
    bool segment_known;
    std::uint64_t next_rip{}; ///< behind the instruction, where the exit says it; else 0
};
static_assert(sizeof(io_port) > 16);

struct cpuid {
    static constexpr char const* name{"cpuid"};
};

struct hlt {
    static constexpr char const* name{"hlt"};
};

struct msr_read {
    static constexpr char const* name{"msr_read"};
    std::uint32_t index;
};

struct msr_write {
    static constexpr char const* name{"msr_write"};
    std::uint32_t index;
    std::uint64_t value;
};

/// An access that the nested tables do not allow.
struct nested_page_fault {
    static constexpr char const* name{"nested_page_fault"};
    gpa address;
    access wanted;  ///< exactly one of read, write, execute
    bool page_walk; ///< the access was to a guest page table, not to the final address
    bool present;   ///< a translation existed and lacked the permission
    instruction_bytes instruction;
};

/// MOV to or from CR0, CR2, CR3, CR4, CR8; CLTS, LMSW, SMSW. Where the processor does not decode the instruction,
/// `decoded` is false and only `number` and `write` hold.
struct control_register {
    static constexpr char const* name{"control_register"};
    enum class form : std::uint8_t { mov, clts, lmsw, smsw };
    std::uint8_t number;
    bool write;
    bool decoded;
    form kind;
    x86::gpr source;                   ///< of mov
    std::uint16_t machine_status_word; ///< of lmsw
};

/// MOV to or from a debug register.
struct debug_register {
    static constexpr char const* name{"debug_register"};
    std::uint8_t number;
    bool write;
    bool decoded;
    x86::gpr source;
};

/// LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT or STR, where the machine's descriptor-table policy is `exits`. Privilege
/// may not have been checked.
struct descriptor_table {
    static constexpr char const* name{"descriptor_table"};
    enum class table : std::uint8_t { gdtr, idtr, ldtr, tr };
    table which;
    bool write; ///< the instruction loads the register
};

/// An exception of the guest that this machine intercepts.
struct exception {
    static constexpr char const* name{"exception"};
    x86::exception vector;
    std::uint32_t error_code;    ///< 0 where the vector has none
    std::uint64_t qualification; ///< faulting address of #PF, DR6-style bits of #DB
};

/// VMCALL or VMMCALL.
struct hypercall {
    static constexpr char const* name{"hypercall"};
};

/// An instruction of the hardware-virtualisation extension itself, or another that this machine does not have:
/// the guest gets #UD.
struct undefined_instruction {
    static constexpr char const* name{"undefined_instruction"};
};

struct xsetbv {
    static constexpr char const* name{"xsetbv"};
    std::uint32_t index;
    std::uint64_t value;
};

/// INVD or WBINVD.
struct cache_control {
    static constexpr char const* name{"cache_control"};
};

struct pause {
    static constexpr char const* name{"pause"};
};

struct monitor {
    static constexpr char const* name{"monitor"};
};

struct mwait {
    static constexpr char const* name{"mwait"};
};

/// RDTSC or RDTSCP, where the machine's TSC policy is `trapped`; RDTSCP also where the guest's CPUID has none.
struct tsc_read {
    static constexpr char const* name{"tsc_read"};
    bool with_aux; ///< RDTSCP; QEMU does not tell it from RDTSC, and gives no instruction length then
};

struct rdpmc {
    static constexpr char const* name{"rdpmc"};
};

/// The processor wrote a register of a local APIC that it runs, and the rest is to be done behind the instruction.
struct apic_write {
    static constexpr char const* name{"apic_write"};
    std::uint16_t offset; ///< in the APIC's page, in x2APIC mode too
    std::uint32_t value;
};

/// The processor ended the service of an interrupt whose end somebody wants to know of: a level-triggered one.
struct end_of_interrupt {
    static constexpr char const* name{"end_of_interrupt"};
    std::uint8_t vector;
};

/// The guest can take an interrupt now, and somebody asked to be told.
struct interrupt_window {
    static constexpr char const* name{"interrupt_window"};
};

/// The guest can take an NMI now, or is about to: it executes the IRET that ends its NMI handler.
struct nmi_window {
    static constexpr char const* name{"nmi_window"};
};

/// A physical interrupt, NMI, SMI or INIT of the host; the host takes it before the handler runs.
struct host_interrupt {
    static constexpr char const* name{"host_interrupt"};
};

/// The time is up until which `bound_stay` let the guest run.
struct deadline {
    static constexpr char const* name{"deadline"};
};

/// A physical machine check while the guest ran.
struct machine_check {
    static constexpr char const* name{"machine_check"};
};

/// A task switch that the processor has checked as far as the new TSS descriptor, and not begun.
struct task_switch {
    static constexpr char const* name{"task_switch"};
    enum class source : std::uint8_t { call, iret, jmp, gate };
    std::uint16_t selector;
    source reason;
    bool has_error_code;
    std::uint32_t error_code;
    bool resume_flag{}; ///< RFLAGS.RF as the old task's state is to have it
};

/// The guest's own shutdown: a fault while delivering a double fault.
struct triple_fault {
    static constexpr char const* name{"triple_fault"};
};

/// The processor refused to enter the guest: its state or the controls are not consistent.
struct entry_failed {
    static constexpr char const* name{"entry_failed"};
    char const* reason; ///< the check that most likely failed, in the manual's words
};

/// The world-switch found a host register that the guest must not reach, changed (a profile-hidden XCR0 bit, say).
struct isolation_broken {
    static constexpr char const* name{"isolation_broken"};
    char const* reason;
};

/// An exit of which the backend knows no meaning. The VM stops and prints everything.
struct unknown {
    static constexpr char const* name{"unknown"};
    std::uint64_t code;
    std::uint64_t information[2];
};

} // namespace exits
} // namespace hv
