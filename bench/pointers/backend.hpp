// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bench/pointers/exit_table.hpp>
#include <bench/pointers/operations.hpp>

#include <hv/address.hpp>
#include <hv/backends/backend.hpp>
#include <hv/event.hpp>
#include <hv/status.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <cstdint>
#include <utility>

namespace hv::pointers {

/// The virtual processor of a pointer_backend.
template <typename Backend, typename Host>
class vcpu;

/// The virtual machine of a pointer_backend. Its creation finds the backend that suits the processor.
template <typename Backend, typename Host>
class vm {
  public:
    [[nodiscard]] auto create(Host& host, vm_controls const& controls) -> status {
        if (typename Backend::processor{}.examine(host).verdict == status::ok)
            operations_ = &operations_of<Backend, Host>;
        return operations_ == nullptr ? status::no_device : operations_->create_vm(direct_, host, controls);
    }
    void destroy(Host& host) {
        if (operations_ != nullptr)
            operations_->destroy_vm(direct_, host);
    }

  private:
    friend class vcpu<Backend, Host>;

    operations<Backend, Host> const* operations_{};
    typename Backend::vm direct_{};
};

template <typename Backend, typename Host>
class vcpu {
  public:
    [[nodiscard]] auto create(Host& host, vm<Backend, Host> const& machine) -> status {
        operations_ = machine.operations_;
        return operations_->create(direct_, host, machine.direct_);
    }
    void destroy(Host& host) {
        if (operations_ != nullptr)
            operations_->destroy(direct_, host);
    }
    void attach(Host& host, typename Backend::processor& on) { operations_->attach(direct_, host, on); }
    void detach(Host& host, typename Backend::processor& from) { operations_->detach(direct_, host, from); }
    void dump(Host& host) const { operations_->dump(direct_, host); }
    template <typename Handler>
    [[gnu::always_inline]] auto enter(Host& host, typename Backend::processor& on, Handler& handler) -> verdict {
        exit_sink sink{.handler = &handler, .table = &exit_table_of<Handler>};
        return operations_->enter(host, on, direct_, sink);
    }

    [[nodiscard]] auto gpr(x86::gpr name) const -> std::uint64_t { return operations_->gpr(direct_, name); }
    void set_gpr(x86::gpr name, std::uint64_t value) { operations_->set_gpr(direct_, name, value); }
    [[nodiscard]] auto rip() const -> std::uint64_t { return operations_->rip(direct_); }
    void set_rip(std::uint64_t value) { operations_->set_rip(direct_, value); }
    [[nodiscard]] auto rflags() const -> std::uint64_t { return operations_->rflags(direct_); }
    void set_rflags(std::uint64_t value) { operations_->set_rflags(direct_, value); }
    [[nodiscard]] auto cr0() const -> std::uint64_t { return operations_->cr0(direct_); }
    void set_cr0(std::uint64_t value) { operations_->set_cr0(direct_, value); }
    [[nodiscard]] auto cr2() const -> std::uint64_t { return operations_->cr2(direct_); }
    void set_cr2(std::uint64_t value) { operations_->set_cr2(direct_, value); }
    [[nodiscard]] auto cr3() const -> std::uint64_t { return operations_->cr3(direct_); }
    void set_cr3(std::uint64_t value) { operations_->set_cr3(direct_, value); }
    [[nodiscard]] auto cr4() const -> std::uint64_t { return operations_->cr4(direct_); }
    void set_cr4(std::uint64_t value) { operations_->set_cr4(direct_, value); }
    [[nodiscard]] auto efer() const -> std::uint64_t { return operations_->efer(direct_); }
    void set_efer(std::uint64_t value) { operations_->set_efer(direct_, value); }
    [[nodiscard]] auto xcr0() const -> std::uint64_t { return operations_->xcr0(direct_); }
    void set_xcr0(std::uint64_t value) { operations_->set_xcr0(direct_, value); }
    [[nodiscard]] auto debug_register(unsigned number) const -> std::uint64_t {
        return operations_->debug_register(direct_, number);
    }
    void set_debug_register(unsigned number, std::uint64_t value) {
        operations_->set_debug_register(direct_, number, value);
    }
    [[nodiscard]] auto segment(x86::segment_name name) const -> x86::segment {
        return operations_->segment(direct_, name);
    }
    void set_segment(x86::segment_name name, x86::segment const& value) {
        operations_->set_segment(direct_, name, value);
    }
    [[nodiscard]] auto gdtr() const -> x86::descriptor_table { return operations_->gdtr(direct_); }
    void set_gdtr(x86::descriptor_table const& value) { operations_->set_gdtr(direct_, value); }
    [[nodiscard]] auto idtr() const -> x86::descriptor_table { return operations_->idtr(direct_); }
    void set_idtr(x86::descriptor_table const& value) { operations_->set_idtr(direct_, value); }
    [[nodiscard]] auto cpl() const -> std::uint8_t { return operations_->cpl(direct_); }
    [[nodiscard]] auto msr(std::uint32_t index) const -> result<std::uint64_t> {
        return operations_->msr(direct_, index);
    }
    [[nodiscard]] auto set_msr(std::uint32_t index, std::uint64_t value) -> status {
        return operations_->set_msr(direct_, index, value);
    }
    [[nodiscard]] auto fetch_state() const -> std::array<std::uint64_t, 3>
        requires remembers_code<typename Backend::vcpu>
    {
        return operations_->fetch_state(direct_);
    }
    [[nodiscard]] auto opcode_length() const -> std::uint8_t
        requires knows_opcodes<typename Backend::vcpu>
    {
        return operations_->opcode_length(direct_);
    }

    void inject(event e) { operations_->inject(direct_, e); }
    [[nodiscard]] auto injection_pending() const -> bool { return operations_->injection_pending(direct_); }
    [[nodiscard]] auto withdraw_injection() -> event { return operations_->withdraw_injection(direct_); }
    [[nodiscard]] auto take_interrupted_event() -> event { return operations_->take_interrupted_event(direct_); }
    [[nodiscard]] auto interrupt_shadow() const -> bool { return operations_->interrupt_shadow(direct_); }
    void set_interrupt_shadow(bool on) { operations_->set_interrupt_shadow(direct_, on); }
    [[nodiscard]] auto nmi_blocked() const -> bool { return operations_->nmi_blocked(direct_); }
    void set_nmi_blocked(bool on) { operations_->set_nmi_blocked(direct_, on); }
    void request_interrupt_window(bool on) { operations_->request_interrupt_window(direct_, on); }
    void request_nmi_window() { operations_->request_nmi_window(direct_); }
    [[nodiscard]] auto task_priority() const -> std::uint8_t { return operations_->task_priority(direct_); }
    void set_task_priority(std::uint8_t priority) { operations_->set_task_priority(direct_, priority); }
    void watch_task_priority(bool on) { operations_->watch_task_priority(direct_, on); }

    [[nodiscard]] auto instruction_length() const -> std::uint8_t { return operations_->instruction_length(direct_); }
    [[nodiscard]] auto next_rip() const -> std::uint64_t
        requires tells_next_rip<typename Backend::vcpu>
    {
        return operations_->next_rip(direct_);
    }
    void set_tsc_offset(std::uint64_t value) { operations_->set_tsc_offset(direct_, value); }
    void flush_translations() { operations_->flush_translations(direct_); }

    /// What stands behind the table: for scripts of the fake backend.
    [[nodiscard]] auto direct() -> typename Backend::vcpu& { return direct_; }

  private:
    operations<Backend, Host> const* operations_{};
    typename Backend::vcpu direct_{};
};

/// A backend whose every operation is called through a pointer, and which calls every exit handler through one. What
/// it does is `Backend`'s.
template <typename Backend, typename Host>
struct pointer_backend {
    static constexpr char const* name{Backend::name};
    static constexpr auto const& tsc_scaling = Backend::tsc_scaling;
    using nested_format = typename Backend::nested_format;
    using processor = typename Backend::processor;
    using vm = pointers::vm<Backend, Host>;
    using vcpu = pointers::vcpu<Backend, Host>;

    template <typename Handler>
    [[nodiscard, gnu::always_inline]] static auto enter(Host& host, processor& on, vcpu& cpu, Handler& handler)
        -> verdict {
        return cpu.enter(host, on, handler);
    }

    static void try_out(Host& host, processor& on)
        requires requires { Backend::try_out(host, on); }
    {
        Backend::try_out(host, on);
    }
};

} // namespace hv::pointers
