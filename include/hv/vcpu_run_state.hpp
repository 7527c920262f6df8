// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/interrupt.hpp>
#include <hv/status.hpp>
#include <hv/vcpu_shared.hpp>

#include <cstdint>

/// How far a virtual processor has been started, as callers outside see and set it. By the thread that runs it or has
/// it frozen, unless a function says otherwise.
namespace hv {

/// The number of the reference interface: whether it was initialised, whether it runs, and what of both waits until it
/// looks. A processor that halts by its own HLT runs.
struct run_state {
    static constexpr std::uint32_t init{1u << 0}, run{1u << 1}, pending_init{1u << 14}, pending_start_up{1u << 15};

    std::uint32_t bits{};
    std::uint8_t start_up_vector{}; ///< of what is pending: the page of its code

    constexpr auto operator==(run_state const&) const -> bool = default;
};

template <typename Vcpu>
[[nodiscard]] auto run_state_of(Vcpu& cpu) -> run_state {
    run_state state{};
    if (cpu.was_initialised())
        state.bits |= run_state::init;
    if (cpu.activity() == vcpu_activity::running or cpu.activity() == vcpu_activity::halted)
        state.bits |= run_state::run;
    if constexpr (Vcpu::is_parallel) {
        using request = posted_requests::request;
        auto const waiting = cpu.shared().posted.waiting();
        if (waiting.has(request::init))
            state.bits |= run_state::pending_init;
        if (waiting.has(request::start_up)) {
            state.bits |= run_state::pending_start_up;
            state.start_up_vector = waiting.start_up_page();
        }
    }
    return state;
}

/// invalid_argument for bits that there are not; then nothing changes. Where callers are serial nothing stays pending:
/// it happens at once.
template <typename Vcpu>
auto set_run_state(Vcpu& cpu, run_state state) -> status {
    constexpr auto all = run_state::init | run_state::run | run_state::pending_init | run_state::pending_start_up;
    if ((state.bits & ~all) != 0)
        return status::invalid_argument;
    bool const initialised{(state.bits & run_state::init) != 0};
    if ((state.bits & run_state::run) == 0)
        cpu.set_activity(initialised ? vcpu_activity::waits_for_start_up : vcpu_activity::off);
    else if (cpu.activity() != vcpu_activity::halted)
        cpu.set_activity(vcpu_activity::running);
    cpu.set_initialised(initialised);
    bool const to_init{(state.bits & run_state::pending_init) != 0};
    bool const to_start{(state.bits & run_state::pending_start_up) != 0};
    if constexpr (Vcpu::is_parallel) {
        cpu.shared().posted.drop_start();
        if (to_init)
            cpu.post(interrupt_message{.mode = delivery_mode::init});
        if (to_start)
            cpu.post(interrupt_message{.vector = state.start_up_vector, .mode = delivery_mode::start_up});
    } else {
        if (to_init)
            initialize(cpu);
        if (to_start)
            start_up(cpu, state.start_up_vector);
    }
    return status::ok;
}

/// INIT, as another processor sends it: it drops a start-up that waits. From any thread, where there are others; else
/// it happens at once, and a handler of the same vCPU's exit answers verdict::resume.
template <typename Vcpu>
void inject_init(Vcpu& cpu) {
    if constexpr (Vcpu::is_parallel)
        cpu.post(interrupt_message{.mode = delivery_mode::init});
    else
        initialize(cpu);
}

/// A start-up message: the processor executes real-mode code at the start of page `vector`, if it waits for that, which
/// it does behind an INIT only. From any thread, where there are others.
template <typename Vcpu>
void inject_start_up(Vcpu& cpu, std::uint8_t vector) {
    if constexpr (Vcpu::is_parallel)
        cpu.post(interrupt_message{.vector = vector, .mode = delivery_mode::start_up});
    else
        start_up(cpu, vector);
}

/// How much of a processor is made anew.
enum class reset_kind : std::uint8_t {
    reset, ///< everything, as after power-on
    init   ///< what INIT touches: not the x87 and SSE registers, MSRs and XCR0
};

/// Its registers, local APIC and pending events; whether it runs stays. invalid_argument for another kind, and nothing
/// changes.
template <typename Vcpu>
auto reset_processor(Vcpu& cpu, reset_kind kind) -> status {
    switch (kind) {
    case reset_kind::reset:
        cpu.reset_state();
        return status::ok;
    case reset_kind::init:
        initialize_state(cpu);
        return status::ok;
    }
    return status::invalid_argument;
}

} // namespace hv
