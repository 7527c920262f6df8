// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/speculation.hpp>
#include <hv/backends/svm/consistency.hpp>
#include <hv/backends/svm/dump.hpp>
#include <hv/backends/svm/events.hpp>
#include <hv/backends/svm/exit_code.hpp>
#include <hv/backends/svm/processor.hpp>
#include <hv/backends/svm/vm.hpp>
#include <hv/status.hpp>

#include <array>
#include <cstdint>
#include <utility>

namespace hv::backends::svm {

/// One virtual processor: its VMCB and everything that the VMCB does not hold.
template <typename WorldSwitch>
class vcpu : public events {
  public:
    template <typename Host>
    [[nodiscard]] auto create(Host& host, vm const& machine) -> status {
        destroy(host);
        static_cast<vcpu&>(*this) = vcpu{};
        vmcb_ = static_cast<vmcb*>(host.allocate(sizeof(vmcb), page_size));
        if (vmcb_ == nullptr)
            return status::out_of_memory;
        physical_ = host.physical(vmcb_);
        xsave_ = machine.xsave_;
        xcr0_allowed_ = machine.xcr0_allowed_;
        tsc_ratio_ = machine.tsc_ratio_;
        auto& control = vmcb_->control;
        vmcb_->write(control.intercept_cr, machine.intercepts_.cr);
        vmcb_->write(control.intercept_dr, machine.intercepts_.dr);
        vmcb_->write(control.intercept_exceptions, machine.intercepts_.exceptions);
        vmcb_->write(control.intercept_misc1, machine.intercepts_.misc1);
        vmcb_->write(control.intercept_misc2, machine.intercepts_.misc2);
        vmcb_->write(control.intercept_misc3, machine.intercepts_.misc3);
        vmcb_->write(control.pause_filter_count, machine.pause_count_);
        vmcb_->write(control.pause_filter_threshold, machine.pause_gap_);
        vmcb_->write(control.iopm_base_pa, machine.io_permissions_.value);
        vmcb_->write(control.msrpm_base_pa, machine.msr_permissions_.value);
        vmcb_->write(control.np_enable, 1);
        vmcb_->write(control.n_cr3, machine.nested_root_.value);
        vmcb_->write(control.v_intr, v_intr::v_intr_masking);
        vmcb_->write(vmcb_->save.g_pat, 0x0007'0406'0007'0406);
        power_on();
        return status::ok;
    }

    template <typename Host>
    void destroy(Host& host) {
        if (vmcb_ != nullptr)
            host.free(vmcb_, sizeof(vmcb));
        vmcb_ = nullptr;
    }

    /// DR0-3, TSC_AUX and the TSC ratio move here, not at every entry: DR7 is off in the host while it holds the
    /// guest's addresses.
    template <typename Host>
    void attach(Host& host, processor& on) {
        auto& out = on.displaced_;
        out.debug_control = WorldSwitch::read_debug_control();
        out.debug_status = WorldSwitch::read_debug_status();
        out.debug_addresses = WorldSwitch::read_debug_registers();
        WorldSwitch::write_debug_control(debug_control_off);
        WorldSwitch::write_debug_registers(debug_addresses_);
        due_ = due::address_space | due::cr2 | (due_ & ~due::extended_state);
        if (on.features_.tsc_aux) {
            if (auto const aux = host.read_msr(x86::msr::ia32_tsc_aux))
                out.tsc_aux = aux.value;
            due_ |= due::tsc_aux;
        }
        if (tsc_ratio_ != 0) { // of guests only: the host's own RDTSC does not look at it
            if (auto const ratio = host.read_msr(x86::msr::amd_tsc_ratio))
                out.tsc_ratio = ratio.value;
            static_cast<void>(host.write_msr(x86::msr::amd_tsc_ratio, tsc_ratio_));
        }
        if (xsave_)
            out.xcr0 = WorldSwitch::read_xcr0();
        out.xss = 0;
        if (xsave_ and on.features_.xsaves)
            if (auto const xss = host.read_msr(x86::msr::ia32_xss))
                out.xss = xss.value;
        if (xsave_)
            due_ |= due::extended_state;
        next_rip_ = on.features_.next_rip;
        vmcb_->control.nrip = 0;
        decode_assist_ = on.features_.decode_assist;
        clean_after_exit_ = on.features_.clean_bits ? all_clean : 0;
        host_state_ = on.host_state_;
        WorldSwitch::save_host(host_state_);
        suspected_ = why_guest_state_fails(vmcb_->save);
        attached_ = true;
    }

    template <typename Host>
    void detach(Host& host, processor& from) {
        auto const& out = from.displaced_;
        debug_addresses_ = WorldSwitch::read_debug_registers();
        WorldSwitch::write_debug_registers(out.debug_addresses);
        WorldSwitch::write_debug_status(out.debug_status);
        WorldSwitch::write_debug_control(out.debug_control);
        if (from.features_.tsc_aux)
            static_cast<void>(host.write_msr(x86::msr::ia32_tsc_aux, out.tsc_aux));
        if (tsc_ratio_ != 0)
            static_cast<void>(host.write_msr(x86::msr::amd_tsc_ratio, out.tsc_ratio));
        attached_ = false;
    }

    [[nodiscard]] auto debug_register(unsigned number) const -> std::uint64_t {
        if (number < 4)
            return (attached_ ? WorldSwitch::read_debug_registers() : debug_addresses_)[number];
        return number == 6 ? vmcb_->save.dr6 : vmcb_->save.dr7;
    }
    /// The upper halves of DR6 and DR7 must be zero for VMRUN.
    void set_debug_register(unsigned number, std::uint64_t value) {
        if (number < 4) {
            if (attached_)
                debug_addresses_ = WorldSwitch::read_debug_registers();
            debug_addresses_[number] = value;
            if (attached_)
                WorldSwitch::write_debug_registers(debug_addresses_);
        } else if (number == 6) {
            vmcb_->write(vmcb_->save.dr6, (value & 0xffff'ffff));
        } else {
            vmcb_->write(vmcb_->save.dr7, (value & 0xffff'ffff));
        }
    }

    /// RIP behind the instruction that exited; 0: unknown. From the exit itself for IN and OUT, else from nRIP where
    /// the processor has it. nRIP counts for intercepted instructions only: Bochs fills it for faults too.
    [[nodiscard, gnu::always_inline]] auto next_rip() const -> std::uint64_t {
        auto const& control = vmcb_->control;
        if (next_rip_)
            return is_instruction(control.exitcode) ? control.nrip : std::uint64_t{0};
        return control.exitcode == static_cast<std::uint64_t>(exit_code::ioio) ? control.exitinfo2 : std::uint64_t{0};
    }
    /// The same of an intercept of an instruction. A processor without nRIP leaves the field as `attach` does.
    [[nodiscard, gnu::always_inline]] auto end_of_instruction() const -> std::uint64_t { return vmcb_->control.nrip; }
    /// How long the opcode is that the exit stands for and that begins with 0Fh; 0 for all other exits. QEMU exits for
    /// RDTSCP as for RDTSC.
    [[nodiscard]] auto opcode_length() const -> std::uint8_t {
        auto const code = static_cast<exit_code>(vmcb_->control.exitcode);
        if (code == exit_code::msr or code == exit_code::cpuid)
            return 2;
        return code == exit_code::vmmcall ? 3 : 0;
    }
    [[nodiscard]] auto instruction_length() const -> std::uint8_t {
        auto const next = next_rip();
        auto const length = next - rip();
        return next != 0 and length <= 15 ? static_cast<std::uint8_t>(length) : std::uint8_t{0};
    }

    /// Runs the guest until its next exit and leaves the VMCB as the exit left it. False: see holds_hidden_states.
    template <bool Mitigates, typename Host>
    [[nodiscard, gnu::always_inline]] auto run(Host& host, processor& on) -> bool {
        if (due_ != 0 or interrupt_shadow()) [[unlikely]] {
            if (due_ != due::injection or interrupt_shadow())
                return run_with_more<Mitigates>(host, on);
            deliver_only<Mitigates>(on);
            return true;
        }
        enter_guest<Mitigates>(on);
        auto& control = vmcb_->control;
        control.clean_bits = clean_after_exit_;
        if (event{control.exitintinfo | control.exitcode}.valid()) [[unlikely]] // of the codes exit_code::invalid alone
            after_trouble(on);
        return true;
    }

    /// The guest left the last world switch with a state in XCR0 that its machine does not allow or the host not keep.
    [[nodiscard]] auto holds_hidden_states() const -> bool { return hidden_states_; }

    /// See hv::mitigation_policy.
    [[nodiscard]] auto speculation() -> guest_speculation<WorldSwitch>& { return speculation_; }

    /// What the guest's state failed of when it was loaded; null if nothing.
    [[nodiscard]] auto suspected() const -> char const* { return suspected_; }
    [[nodiscard]] auto block() const -> vmcb const& { return *vmcb_; }
    [[nodiscard]] auto has_decode_assist() const -> bool { return decode_assist_; }

    template <typename Host>
    void dump(Host& host) const {
        if (vmcb_ != nullptr)
            svm::dump(host, *this, *vmcb_);
    }

  private:
    static constexpr std::uint64_t debug_control_off{0x400};

    [[nodiscard]] auto exited_with(exit_code code) const -> bool {
        return vmcb_->control.exitcode == static_cast<std::uint64_t>(code);
    }

    /// The world switch, and what mitigations have close around it.
    template <bool Mitigates>
    [[gnu::always_inline]] void enter_guest([[maybe_unused]] processor& on) {
        if constexpr (Mitigates) {
            if (speculation_.enter(on.speculation_)) [[unlikely]]
                vmcb_->save.spec_ctrl = speculation_.virtual_control();
        }
        WorldSwitch::template enter<Mitigates>(gprs_.data(), physical_, host_state_);
        if constexpr (Mitigates)
            speculation_.leave(on.speculation_);
    }

    /// An entry with something due besides an event to deliver, with an NMI, or in an interrupt shadow.
    template <bool Mitigates, typename Host>
    [[nodiscard, gnu::noinline]] auto run_with_more(Host& host, processor& on) -> bool {
        if ((due_ & due::one_step) != 0) [[unlikely]] {
            step_to_nmi_window<Mitigates>(host, on);
            return not hidden_states_;
        }
        auto const in_shadow = interrupt_shadow();
        auto const from = rip();
        switch_worlds<Mitigates>(host, on);
        if (in_shadow and rip() == from) {
            if (exited_with(exit_code::vintr)) [[unlikely]]
                step_out_of_shadow<Mitigates>(host, on);
            else
                set_interrupt_shadow(true); // QEMU forgets it at VMRUN
        }
        return not hidden_states_;
    }

    /// An entry that delivers an event, of those that block no others, and has nothing else to do.
    template <bool Mitigates>
    [[gnu::always_inline]] void deliver_only(processor& on) {
        auto& control = vmcb_->control;
        due_ = 0;
        injected_ = event{control.eventinj};
        enter_guest<Mitigates>(on);
        control.clean_bits = clean_after_exit_;
        if (event{control.exitintinfo | control.exitcode}.valid()) [[unlikely]]
            return after_trouble(on);
        injected_ = {};
        control.eventinj = 0;
    }

    template <bool Mitigates, typename Host>
    void switch_worlds(Host& host, processor& on) {
        auto const work = std::exchange(due_, static_cast<std::uint16_t>(due_ & due::extended_state));
        if constexpr (Mitigates)
            if ((work & due::address_space) != 0)
                gprs_[x86::gpr_count] = speculation_.begin(host, on.speculation_, last_processor_ != &on);
        if ((work & (due::address_space | due::flush)) != 0)
            choose_address_space(on, (work & due::flush) != 0);
        injected_ = before_delivery();
        if ((work & due::tsc_aux) != 0 and on.features_.tsc_aux)
            static_cast<void>(host.write_msr(x86::msr::ia32_tsc_aux, tsc_aux_));
        if ((work & due::cr2) != 0) // VMRUN loads it, but not in Bochs
            WorldSwitch::write_cr2(vmcb_->save.cr2);
        auto const host_xcr0 = on.displaced_.xcr0, host_xss = on.displaced_.xss;
        if (xsave_ and xcr0_ != host_xcr0)
            WorldSwitch::write_xcr0(xcr0_);
        if (host_xss != 0) [[unlikely]] // XSAVES and XRSTORS have no intercept
            static_cast<void>(host.write_msr(x86::msr::ia32_xss, 0));
        enter_guest<Mitigates>(on);
        if (xsave_) { // read back: QEMU does not intercept XSETBV
            xcr0_ = WorldSwitch::read_xcr0();
            if (xcr0_ != host_xcr0)
                WorldSwitch::write_xcr0(host_xcr0);
            hidden_states_ = (xcr0_ & ~(xcr0_allowed_ & host_xcr0)) != 0;
        }
        if (host_xss != 0) [[unlikely]]
            static_cast<void>(host.write_msr(x86::msr::ia32_xss, host_xss));
        vmcb_->control.tlb_control = static_cast<std::uint32_t>(tlb_control::nothing);
        vmcb_->control.clean_bits = clean_after_exit_;
        after_trouble(on);
    }

    /// What an exit that interrupted a delivery, or none at all, asks for.
    [[gnu::noinline]] void after_trouble(processor& on) {
        if (is_invalid(vmcb_->control.exitcode)) [[unlikely]]
            distrust(on);
        after_delivery();
    }

    /// Executes one instruction of the guest and says whether that was all that happened: no exit of its own, no trap
    /// of the guest's. If it has not executed, its interrupt shadow stays. `loads_flags`: the instruction itself
    /// replaces TF.
    template <bool Mitigates, typename Host>
    [[nodiscard]] auto step(Host& host, processor& on, bool loads_flags) -> bool {
        constexpr std::uint64_t causes{0xe00f}, single_step{1u << 14};
        constexpr std::uint32_t debug_exception{1u << 1};
        std::uint64_t const before{vmcb_->save.dr6};
        std::uint32_t const intercepted{vmcb_->control.intercept_exceptions};
        auto const from = rip();
        auto const in_shadow = interrupt_shadow();
        set_rflags(rflags() | x86::rflags::tf);
        vmcb_->write(vmcb_->save.dr6, before & ~causes);
        vmcb_->write(vmcb_->control.intercept_exceptions, intercepted | debug_exception);
        switch_worlds<Mitigates>(host, on);
        vmcb_->write(vmcb_->control.intercept_exceptions, intercepted);
        if (not loads_flags or rip() == from)
            set_rflags(rflags() & ~x86::rflags::tf);
        auto const why = vmcb_->save.dr6 & causes;
        bool const alone{exited_with(exit_code::exception1) and (why == single_step or why == 0)}; // Bochs notes none
        vmcb_->write(vmcb_->save.dr6, alone ? before : vmcb_->save.dr6 | (before & causes));
        if (in_shadow and not alone and rip() == from)
            set_interrupt_shadow(true); // QEMU forgets it at VMRUN
        return alone;
    }

    /// QEMU 7.2 forgets the interrupt shadow at VMRUN, and the window opens between STI and HLT, where an interrupt
    /// would be slept through. A single step executes the instruction in the shadow; the window waits meanwhile. A
    /// processor that keeps the shadow gets here at most in the middle of a repeated string instruction.
    template <bool Mitigates, typename Host>
    [[gnu::cold, gnu::noinline]] void step_out_of_shadow(Host& host, processor& on) {
        if ((rflags() & x86::rflags::tf) != 0)
            return; // the guest steps itself; its own trap follows
        request_interrupt_window(false);
        set_interrupt_shadow(true); // a host interrupt may come before the step has executed it
        auto const alone = step<Mitigates>(host, on, false);
        request_interrupt_window(true);
        if (alone)
            switch_worlds<Mitigates>(host, on);
    }

    template <bool Mitigates, typename Host>
    [[gnu::cold, gnu::noinline]] void step_to_nmi_window(Host& host, processor& on) {
        auto const loads_flags = (due_ & due::end_of_nmi) != 0;
        due_ &= static_cast<std::uint16_t>(~(due::one_step | due::end_of_nmi));
        if ((rflags() & x86::rflags::tf) != 0)
            return switch_worlds<Mitigates>(host, on); // as above
        auto const window = (vmcb_->control.intercept_misc1 & misc1::vintr) != 0;
        request_interrupt_window(false);
        auto const from = rip();
        nmi_window_ = step<Mitigates>(host, on, loads_flags);
        if (loads_flags and not nmi_window_ and rip() == from)
            due_ |= due::end_of_nmi; // it has yet to execute
        request_interrupt_window(window);
    }

    /// Another processor has neither cached state nor translations of this guest; and translations that the guest left
    /// behind on an earlier processor may be stale when it comes back. So each move starts with a new ASID.
    void choose_address_space(processor& on, bool flush) {
        auto& control = vmcb_->control;
        auto const moved = last_processor_ != &on or last_epoch_ != on.epoch_;
        if (moved)
            control.clean_bits = 0;
        auto how = tlb_control::nothing;
        if (moved or generation_ != on.address_spaces_.generation() or (flush and not on.features_.flush_by_asid)) {
            auto const granted = on.address_spaces_.take();
            generation_ = granted.generation;
            vmcb_->write(control.guest_asid, granted.tag);
            if (granted.flush_all)
                how = tlb_control::flush_all;
        } else if (flush) {
            how = tlb_control::flush_this_guest;
        }
        control.tlb_control = static_cast<std::uint32_t>(how);
        last_processor_ = &on;
        last_epoch_ = on.epoch_;
    }

    /// After a refused entry nobody knows which of its loads and flushes happened.
    void distrust(processor& on) {
        last_processor_ = nullptr;
        due_ |= due::address_space;
        on.address_spaces_.start(on.features_.address_spaces);
    }

    /// SDM Vol. 3A, "Processor State After Reset"; whoever builds a machine resets it again through the setters.
    void power_on() {
        set_efer(0);
        set_cr0(x86::cr0::cd | x86::cr0::nw | x86::cr0::et);
        set_rflags(0);
        set_rip(0xfff0);
        set_debug_register(6, 0xffff'0ff0);
        set_debug_register(7, debug_control_off);
        for (auto const name : std::array{x86::segment_name::es, x86::segment_name::ss, x86::segment_name::ds,
                                          x86::segment_name::fs, x86::segment_name::gs})
            set_segment(name, {.limit = 0xffff, .access = 0x93});
        set_segment(x86::segment_name::cs, {.base = 0xffff'0000, .limit = 0xffff, .access = 0x9b, .selector = 0xf000});
        set_segment(x86::segment_name::ldtr, {.limit = 0xffff, .access = 0x82});
        set_segment(x86::segment_name::tr, {.limit = 0xffff, .access = 0x8b});
        set_gdtr({.limit = 0xffff});
        set_idtr({.limit = 0xffff});
    }

    hpa physical_{};
    hpa host_state_{}; ///< of the processor it is attached to
    processor const* last_processor_{};
    std::uint64_t last_epoch_{};
    std::uint64_t generation_{};
    char const* suspected_{};
    std::uint64_t xcr0_allowed_{}, tsc_ratio_{};
    guest_speculation<WorldSwitch> speculation_{};
    std::uint32_t clean_after_exit_{};
    bool hidden_states_{};
    bool attached_{};
    bool next_rip_{};
    bool decode_assist_{};
};

} // namespace hv::backends::svm
