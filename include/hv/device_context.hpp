// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/interrupt.hpp>
#include <hv/stop.hpp>
#include <hv/time.hpp>

#include <cstdint>

namespace hv {

/// The services that devices of machine scope get from a vm. Made anew for each call into the board; reads the clock at
/// most once, so time stands still during the call. While one lives the board is its thread's alone.
template <typename Vm>
class machine_context {
  public:
    explicit machine_context(Vm& machine) : vm_{machine} { vm_.enter_board(); }
    /// For a caller who may have the board already.
    machine_context(Vm& machine, bool has_board) : vm_{machine}, leaves_{not has_board} {
        if (leaves_)
            vm_.enter_board();
    }
    ~machine_context() {
        if (leaves_)
            vm_.leave_board();
    }
    machine_context(machine_context const&) = delete;
    auto operator=(machine_context const&) -> machine_context& = delete;

    [[nodiscard]] auto now() -> instant {
        if (now_ == unknown)
            now_ = vm_.now();
        return now_;
    }
    [[nodiscard]] auto wall_clock() -> std::int64_t { return vm_.wall_clock_at(now()); }

    void raise(irq_line line) { vm_.raise(*this, line); }
    void lower(irq_line line) { vm_.lower(*this, line); }
    void pulse(irq_line line) { vm_.pulse(*this, line); }
    void set_interrupt_request(bool level) { vm_.set_external_interrupt(*this, level); }
    void deliver(interrupt_message const& message) { vm_.deliver(message, nullptr); }

    void put(auto stream, std::uint8_t byte) { vm_.host().put(stream.number, byte); }
    void power_off() { vm_.stop({.kind = stop_kind::power_off}); }
    void reset_machine() { vm_.stop({.kind = stop_kind::reset}); }
    void exit_machine(std::uint32_t code) { vm_.stop({.kind = stop_kind::exit_code, .code = code}); }

  private:
    Vm& vm_;
    bool const leaves_{true};
    static constexpr instant unknown{-1}; // no machine's clock has gone so far

    instant now_{unknown};
};

/// Makes the context of one call where the device is found that needs it: what no other device sees of it stays in
/// registers, and a port of nobody makes none.
template <typename Vm>
struct machine_context_maker {
    Vm& machine;

    [[nodiscard, gnu::always_inline]] auto make() const -> machine_context<Vm> { return machine_context<Vm>{machine}; }
};

/// What devices of machine scope get while they are restored: the interrupt controllers bring their own record of lines
/// and requests, so that nothing moves and nothing is delivered.
template <typename Vm>
class restoring_context {
  public:
    explicit restoring_context(Vm& machine) : vm_{machine}, now_{machine.now()} {}

    [[nodiscard]] auto now() const -> instant { return now_; }
    [[nodiscard]] auto wall_clock() const -> std::int64_t { return vm_.wall_clock_at(now_); }
    void set_interrupt_request(bool level) { vm_.assume_external_interrupt(level); }

  private:
    Vm& vm_;
    instant now_;
};

/// The services that a local APIC gets from its vCPU, whose thread alone makes one.
template <typename Vcpu>
class processor_context {
  public:
    explicit processor_context(Vcpu& processor) : vcpu_{processor} {}
    ~processor_context() { vcpu_.show_priority(); }
    processor_context(processor_context const&) = delete;
    auto operator=(processor_context const&) -> processor_context& = delete;

    [[nodiscard]] auto now() -> instant {
        if (now_ == unknown)
            now_ = vcpu_.machine().now();
        return now_;
    }
    [[nodiscard]] auto processor_id() const -> std::uint32_t { return vcpu_.id(); }
    [[nodiscard]] auto guest_tsc() const -> std::uint64_t { return vcpu_.guest_tsc(); }
    [[nodiscard]] auto instant_of_tsc(std::uint64_t tsc) -> instant { return vcpu_.instant_of_tsc(tsc); }
    void send(interrupt_message const& message) { vcpu_.machine().deliver(message, &vcpu_); }
    void end_of_interrupt(std::uint8_t vector) { vcpu_.machine().end_of_interrupt(vector); }

  protected:
    Vcpu& vcpu_;

  private:
    static constexpr instant unknown{-1}; // no machine's clock has gone so far

    instant now_{unknown};
};

/// The same for who may move what messages find the APIC by: registers that the guest writes, RESET, INIT and a saved
/// state.
template <typename Vcpu>
class register_context : public processor_context<Vcpu> {
  public:
    explicit register_context(Vcpu& processor) : processor_context<Vcpu>{processor} {}
    ~register_context() { this->vcpu_.show_route(); }
};

} // namespace hv
