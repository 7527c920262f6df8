// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/device_context.hpp>
#include <hv/devices/lapic.hpp>
#include <hv/posted_requests.hpp>
#include <hv/stop.hpp>
#include <hv/time.hpp>
#include <hv/vcpu_phase.hpp>
#include <hv/vcpu_reset.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/registers.hpp>

#include <atomic>
#include <cstdint>

/// Several vCPUs of one machine: what of each belongs to all threads, and what it does with what they ask of it.
namespace hv {

/// Whether a vCPU executes. APM Vol. 2, "Processor Initialization State".
enum class vcpu_activity : std::uint8_t {
    running,
    halted,
    waits_for_start_up,
    off ///< it waits for INIT
};

/// The part of a vCPU that other threads read and write, on cache lines of its own: what others write, which it looks
/// at before each entry, apart from what it shows them.
struct vcpu_shared {
    alignas(64) posted_requests posted{};
    alignas(64) std::atomic<std::uint64_t> route{}; ///< a lapic_route
    std::atomic<std::uint8_t> priority{};           ///< what lowest-priority arbitration compares
    vcpu_hold hold{};
    std::atomic<bool> sleeps_for_ever{false}; ///< unless another processor ends that
    std::int64_t tsc_lead{};                  ///< of the host's processor that it was on last
};
/// Where there are no other threads.
struct vcpu_alone {};

/// What INIT does to registers, local APIC and pending events. SDM Vol. 3A, "IA-32 and Intel 64 Processor States
/// Following Power-up, Reset, or INIT".
template <typename Vcpu>
void initialize_state(Vcpu& cpu) {
    constexpr auto kept = x86::cr0::cd | x86::cr0::nw;
    auto& hardware = cpu.hardware();
    auto const cr0 = hardware.cr0();
    initialize_registers(hardware);
    hardware.set_cr0((hardware.cr0() & ~kept) | (cr0 & kept));
    cpu.events().clear();
    if constexpr (Vcpu::has_lapic) {
        register_context context{cpu};
        cpu.apic().initialize(context);
    }
}

/// INIT. Without firmware the first processor has nowhere to start again: that is a reset of the machine.
template <typename Vcpu>
[[gnu::cold, gnu::noinline]] void initialize(Vcpu& cpu) {
    if (cpu.id() == 0)
        return cpu.machine().stop({.kind = stop_kind::reset}, cpu.id());
    initialize_state(cpu);
    cpu.set_activity(vcpu_activity::waits_for_start_up);
    cpu.set_initialised(true);
}

/// The start-up message: real-mode code at the start of a page.
template <typename Vcpu>
void start_up(Vcpu& cpu, std::uint8_t page) {
    if (cpu.activity() != vcpu_activity::waits_for_start_up)
        return;
    auto& hardware = cpu.hardware();
    hardware.set_segment(x86::segment_name::cs, {.base = std::uint64_t{page} << 12,
                                                 .limit = 0xffff,
                                                 .access = 0x9b,
                                                 .selector = static_cast<std::uint16_t>(page << 8)});
    hardware.set_rip(0);
    cpu.set_activity(vcpu_activity::running);
}

/// Gives local APIC and event queue what was posted for them.
template <typename Vcpu>
void accept_all(Vcpu& cpu, posted_requests::taken const& all) {
    using request = posted_requests::request;
    all.for_each_vector([&cpu](interrupt_message const& message) { cpu.accept(message); });
    if (all.has(request::nmi))
        cpu.request(lapic_request::nmi);
    if (all.has(request::external))
        cpu.request(lapic_request::external);
    if (all.has(request::lint0))
        cpu.signal_lint0();
}

/// Before somebody takes messages of a vCPU: who looks for sleepers finds them, or one that is awake.
template <typename Vcpu>
void count_as_awake(Vcpu& cpu) {
    auto& sleeps = cpu.shared().sleeps_for_ever;
    if (sleeps.load(std::memory_order_relaxed) and sleeps.exchange(false))
        cpu.machine().note_wake_up();
}

/// Takes what others posted. Never in the middle of an exit: INIT makes registers anew, and what an instruction that is
/// served still does to them would be done to those.
template <typename Vcpu>
void receive(Vcpu& cpu) {
    if constexpr (Vcpu::is_parallel) {
        using request = posted_requests::request;
        auto& posted = cpu.shared().posted;
        if (not posted.any())
            return;
        count_as_awake(cpu);
        auto const all = posted.take();
        cpu.requests().ask_all(all.ends());
        if (all.has(request::debugger)) [[unlikely]]
            cpu.follow_debugger();
        if (all.has(request::init)) [[unlikely]]
            initialize(cpu);
        if (all.has(request::start_up)) [[unlikely]]
            start_up(cpu, all.start_up_page());
        accept_all(cpu, all);
    }
}

/// Lets local APIC and event queue hold all interrupts that were posted, for whoever reads or saves them: by who has
/// the vCPU frozen. INIT and start-up go on waiting, as its run state tells, and what came behind an INIT does.
template <typename Vcpu>
[[gnu::cold]] void receive_interrupts(Vcpu& cpu) {
    if constexpr (Vcpu::is_parallel) {
        auto& posted = cpu.shared().posted;
        if (not posted.any())
            return;
        count_as_awake(cpu);
        accept_all(cpu, posted.take_interrupts());
    }
}

} // namespace hv
