// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/speculation.hpp>
#include <hv/backends/vmx/apic.hpp>
#include <hv/backends/vmx/dump.hpp>
#include <hv/backends/vmx/events.hpp>
#include <hv/backends/vmx/exit_code.hpp>
#include <hv/backends/vmx/preemption_timer.hpp>
#include <hv/backends/vmx/processor.hpp>
#include <hv/backends/vmx/vm.hpp>
#include <hv/host.hpp>
#include <hv/memory/ept.hpp>
#include <hv/status.hpp>
#include <hv/x86/paging.hpp>

#include <array>
#include <bit>
#include <cstdint>
#include <utility>

namespace hv::backends::vmx {

/// One virtual processor: its VMCS and everything that the VMCS does not hold.
template <typename WorldSwitch>
class vcpu : public apic<WorldSwitch> {
  public:
    template <typename Host>
    [[nodiscard]] auto create(Host& host, vm const& machine) -> status {
        destroy(host);
        static_cast<vcpu&>(*this) = vcpu{};
        pages_ = static_cast<std::uint8_t*>(host.allocate(pages_size, page_size));
        if (pages_ == nullptr)
            return status::out_of_memory;
        physical_ = host.physical(pages_);
        this->virtual_apic_ = reinterpret_cast<x86::apic::page*>(pages_ + page_size);
        auto const& has = machine.features_;
        *reinterpret_cast<std::uint32_t*>(pages_) = has.revision;
        zero_length_events_ = has.zero_length_events;
        string_io_information_ = has.string_io_information;
        this->xsave_ = machine.xsave_;
        xcr0_allowed_ = machine.xcr0_allowed_;
        this->direct_msrs_ = machine.direct_msrs_;
        this->physical_address_bits_ = has.physical_address_bits;
        // An unrestricted guest may be without protection and paging.
        this->cr0_fixed0_ = has.cr0_fixed0 & ~(x86::cr0::pe | x86::cr0::pg);
        this->cr0_fixed1_ = has.cr0_fixed1;
        this->cr4_fixed0_ = has.cr4_fixed0;
        this->cr4_fixed1_ = has.cr4_fixed1;
        nested_root_ = machine.nested_root_;
        auto& fields = this->vmcs_;
        fields.template write<pin_based_controls>(machine.controls_.pin);
        fields.template write<primary_controls>(machine.controls_.primary);
        fields.template write<secondary_controls>(machine.controls_.secondary);
        fields.template write<exception_bitmap>(machine.controls_.exceptions);
        fields.template write<vm_exit_controls>(machine.controls_.exit);
        fields.template write<vm_entry_controls>(machine.controls_.entry);
        fields.template write<address_of_msr_bitmaps>(machine.msr_permissions_.value);
        fields.template write<virtual_apic_address>((physical_ + page_size).value);
        fields.template write<ept_pointer>(machine.ept_pointer_);
        fields.template write<vmcs_link_pointer>(~0ull);
        fields.template write<cr0_guest_host_mask>(~this->cr0_guest_owned);
        fields.template write<cr4_guest_host_mask>(~0ull);
        if (has.has_preemption_timer()) {
            timer_ = preemption_timer{has.preemption_timer_shift};
            fields.template begin<vmx_preemption_timer_value>(UINT32_MAX);
        }
        if ((machine.controls_.secondary & secondary::pause_loop_exiting) != 0) {
            fields.template begin<ple_gap>(machine.pauses_.gap);
            fields.template begin<ple_window>(machine.pauses_.window);
        }
        if ((machine.controls_.secondary & secondary::enable_xsaves) != 0)
            fields.template begin<xss_exiting_bitmap>(~0ull); // IA32_XSS is 0 in the guest: none of them exits
        if (machine.tsc_ratio_ != 0)
            fields.template begin<tsc_multiplier>(machine.tsc_ratio_);
        fields.template write<guest_ia32_pat>(0x0007'0406'0007'0406);
        this->prepare_apic(machine);
        power_on();
        return status::ok;
    }

    template <typename Host>
    void destroy(Host& host) {
        if (pages_ != nullptr)
            host.free(pages_, pages_size);
        pages_ = nullptr;
        this->virtual_apic_ = nullptr;
    }

    /// The VMCS becomes this processor's. What it does not hold moves here, not at every entry: DR0-3 and DR6, whose
    /// DR7 is off in the host meanwhile, and the MSRs that only user space of the host depends on.
    template <typename Host>
    void attach(Host& host, processor<WorldSwitch>& on) {
        auto& out = on.displaced_;
        out.debug_control = WorldSwitch::read_debug_control();
        out.debug_status = WorldSwitch::read_debug_status();
        out.debug_addresses = WorldSwitch::read_debug_registers();
        WorldSwitch::write_debug_control(debug_control_off);
        WorldSwitch::write_debug_registers(this->debug_addresses_);
        WorldSwitch::write_debug_status(this->debug_status_);
        this->holds_cr2_ = keeps_cr2<Host>;
        if constexpr (keeps_cr2<Host>)
            WorldSwitch::write_cr2(this->cr2_);
        for (unsigned i{0}; i < switched_msrs.size(); ++i)
            if (auto const value = host.read_msr(switched_msrs[i]); is_switched_on(on, i) and value)
                out.msrs[i] = value.value;
        this->stale_msrs_ = all_msrs;
        this->due_ |= due::msrs | due::first_entry | due::extended_state;
        if (this->xsave_)
            out.xcr0 = WorldSwitch::read_xcr0();
        out.xss = 0;
        if ((this->vmcs_.template read<secondary_controls>() & secondary::enable_xsaves) != 0)
            if (auto const xss = host.read_msr(x86::msr::ia32_xss))
                out.xss = xss.value;
        out.state = WorldSwitch::read_host_state();
        // A VMCS that was cleared belongs to no processor; one that was never loaded is not to be relied on. Failures
        // show at the entry.
        static_cast<void>(WorldSwitch::vmclear(physical_));
        static_cast<void>(WorldSwitch::vmptrld(physical_));
        this->vmcs_.load();
        launched_ = false;
        host_rsp_ = 0;
        write_host_state(host, out.state);
        this->attached_ = true;
    }

    template <typename Host>
    void detach(Host& host, processor<WorldSwitch>& from) {
        auto const& out = from.displaced_;
        this->vmcs_.unload();
        static_cast<void>(WorldSwitch::vmclear(physical_));
        WorldSwitch::restore_descriptor_tables(out.state);
        this->debug_addresses_ = WorldSwitch::read_debug_registers();
        this->debug_status_ = WorldSwitch::read_debug_status();
        this->cr2_ = this->cr2();
        this->holds_cr2_ = false;
        WorldSwitch::write_debug_registers(out.debug_addresses);
        WorldSwitch::write_debug_status(out.debug_status);
        WorldSwitch::write_debug_control(out.debug_control);
        for (unsigned i{0}; i < switched_msrs.size(); ++i) {
            if (this->in_processor(i))
                this->switched_[i] = WorldSwitch::read_msr(switched_msrs[i]);
            if (is_switched_on(from, i))
                static_cast<void>(host.write_msr(switched_msrs[i], out.msrs[i]));
        }
        this->attached_ = false;
    }

    [[nodiscard]] auto debug_register(unsigned number) const -> std::uint64_t {
        if (number < 4)
            return (this->attached_ ? WorldSwitch::read_debug_registers() : this->debug_addresses_)[number];
        if (number == 6)
            return this->attached_ ? WorldSwitch::read_debug_status() : this->debug_status_;
        return this->vmcs_.template read<guest_dr7>();
    }
    /// The upper halves of DR6 and DR7 must be zero.
    void set_debug_register(unsigned number, std::uint64_t value) {
        if (number < 4) {
            if (this->attached_)
                this->debug_addresses_ = WorldSwitch::read_debug_registers();
            this->debug_addresses_[number] = value;
            if (this->attached_)
                WorldSwitch::write_debug_registers(this->debug_addresses_);
        } else if (number == 6) {
            this->debug_status_ = value & 0xffff'ffff;
            if (this->attached_)
                WorldSwitch::write_debug_status(this->debug_status_);
        } else {
            this->vmcs_.template write<guest_dr7>(value & 0xffff'ffff);
        }
    }

    /// RIP behind the instruction that exited, 0: unknown. Exits by events have a length too where an instruction
    /// raised them; nobody is to step over it. The processor must be attached.
    [[nodiscard, gnu::always_inline]] auto next_rip() const -> std::uint64_t {
        if (not is_instruction(static_cast<exit_code>(this->vmcs_.template read<exit_reason>()))) [[unlikely]]
            return 0;
        return end_of_instruction();
    }
    /// The same of an exit that is an instruction's.
    [[nodiscard, gnu::always_inline]] auto end_of_instruction() const -> std::uint64_t {
        return this->rip() + WorldSwitch::vmread_certain(vm_exit_instruction_length.encoding);
    }
    [[nodiscard]] auto instruction_length() const -> std::uint8_t {
        if (not is_instruction(static_cast<exit_code>(this->vmcs_.template read<exit_reason>())))
            return 0;
        auto const length = this->vmcs_.template read<vm_exit_instruction_length>();
        return length <= 15 ? static_cast<std::uint8_t>(length) : std::uint8_t{0};
    }

    /// See hv::bounds_stay.
    [[nodiscard]] auto can_bound_stay() const -> bool { return timer_.is_there(); }
    void bound_stay(std::uint64_t tsc, std::uint32_t ticks) { timer_.end_at(tsc, ticks); }

    /// Runs the guest until its next exit and leaves the VMCS as the exit left it. False if nothing was entered.
    template <bool WithApic, bool Mitigates, typename Host>
    [[nodiscard, gnu::always_inline]] auto run(Host& host, processor<WorldSwitch>& on) -> bool {
        auto& fields = this->vmcs_;
        if (WithApic or (this->due_ | fields.template read<guest_interruptibility_state>()) != 0) [[unlikely]]
            if (not prepare<WithApic, Mitigates>(host, on)) [[unlikely]]
                return false;
        auto const now = host.tsc();
        if (auto const count = timer_.count_to_end(now); timer_.is_near(count)) [[likely]]
            WorldSwitch::vmwrite_certain(vmx_preemption_timer_value.encoding, count);
        else
            start_timer(now);
        if constexpr (not keeps_cr2<Host>)
            WorldSwitch::write_cr2(this->cr2_);
        if constexpr (Mitigates)
            static_cast<void>(speculation_.enter(on.speculation_));
        auto const outcome = WorldSwitch::template enter<Mitigates>(this->gprs_.data(), launched_, &host_rsp_);
        if constexpr (Mitigates)
            speculation_.leave(on.speculation_);
        if (outcome != entry_outcome::exited) [[unlikely]]
            return not_entered(host, on, outcome);
        if constexpr (not keeps_cr2<Host>)
            this->cr2_ = WorldSwitch::read_cr2();
        fields.renew();
        return this->due_ == 0 or conclude(host, on, outcome); // with nothing due, `decode` sees what went wrong
    }

    /// What there is to do where the processor refused the guest.
    void refuse(entry_outcome outcome) {
        outcome_ = outcome;
        this->due_ |= due::first_entry; // whatever comes next goes the long way
        if (outcome_ != entry_outcome::exited)
            this->vmcs_.template note<exit_reason>(entry_failure_bit); // there was no exit
        if (not launched_)
            host_rsp_ = 0;
        this->entry_was_refused();
    }

    /// See hv::mitigation_policy.
    [[nodiscard]] auto speculation() -> guest_speculation<WorldSwitch>& { return speculation_; }

    /// XCR0 holds a state that the machine does not allow or the host not keep: nothing was entered. XSETBV always
    /// exits, so this is no doing of the guest's.
    [[nodiscard]] auto holds_hidden_states() const -> bool { return hidden_states_; }

    /// How the last attempt to enter ended.
    [[nodiscard]] auto outcome() const -> entry_outcome { return outcome_; }
    [[nodiscard]] auto has_string_io_information() const -> bool { return string_io_information_; }

    template <typename Host>
    void dump(Host& host) const {
        if (pages_ != nullptr)
            vmx::dump(host, *this);
    }

  private:
    static constexpr std::uint64_t debug_control_off{0x400};
    static constexpr std::size_t pages_size{2 * page_size}; ///< VMCS region and virtual-APIC page
    static constexpr std::uint32_t all_msrs{(1u << switched_msrs.size()) - 1};

    [[nodiscard]] static auto is_switched_on(processor<WorldSwitch> const& on, unsigned i) -> bool {
        return i != tsc_aux_slot or on.features_.tsc_aux;
    }

    /// SDM Vol. 3C, "Host-State Area". Selectors must be of the GDT and of privilege level 0; null serves a host whose
    /// data segments are not.
    template <typename Host>
    void write_host_state(Host& host, host_state const& s) {
        auto const msr = [&host](std::uint32_t index) {
            auto const found = host.read_msr(index);
            return found ? found.value : std::uint64_t{0};
        };
        auto& fields = this->vmcs_;
        fields.template write<host_cr0>(s.cr0);
        fields.template write<host_cr3>(s.cr3);
        fields.template write<host_cr4>(s.cr4);
        for (unsigned i{0}; i < s.selectors.size(); ++i)
            fields.template write<host_es_selector>((s.selectors[i] & 7) == 0 ? s.selectors[i] : std::uint16_t{0}, i);
        fields.template write<host_fs_base>(msr(x86::msr::ia32_fs_base));
        fields.template write<host_gs_base>(msr(x86::msr::ia32_gs_base));
        fields.template write<host_tr_base>(s.tr_base);
        fields.template write<host_gdtr_base>(s.gdtr_base);
        fields.template write<host_idtr_base>(s.idtr_base);
        fields.template write<host_ia32_sysenter_cs>(static_cast<std::uint32_t>(msr(x86::msr::ia32_sysenter_cs)));
        fields.template write<host_ia32_sysenter_esp>(msr(x86::msr::ia32_sysenter_esp));
        fields.template write<host_ia32_sysenter_eip>(msr(x86::msr::ia32_sysenter_eip));
        fields.template write<host_ia32_pat>(msr(x86::msr::ia32_pat));
        fields.template write<host_ia32_efer>(msr(x86::msr::ia32_efer));
    }

    [[gnu::noinline]] void start_timer(std::uint64_t now) {
        if (timer_.is_there())
            WorldSwitch::vmwrite_certain(vmx_preemption_timer_value.encoding, timer_.count_from(now));
    }

    /// What an entry needs besides entering. False: there will be none.
    template <bool WithApic, bool Mitigates, typename Host>
    [[nodiscard, gnu::noinline]] auto prepare(Host& host, processor<WorldSwitch>& on) -> bool {
        auto const work = std::exchange(this->due_, this->due_ & due::first_entry);
        auto const host_xcr0 = on.displaced_.xcr0;
        hidden_states_ = this->xsave_ and (this->xcr0_ & ~(xcr0_allowed_ & host_xcr0)) != 0;
        if (hidden_states_) [[unlikely]] {
            this->due_ = work;
            return false;
        }
        if constexpr (Mitigates)
            if ((work & due::first_entry) != 0)
                this->gprs_[x86::gpr_count] = speculation_.begin(host, on.speculation_, last_processor_ != &on);
        choose_address_space(on, work);
        this->before_delivery(zero_length_events_);
        if ((work & due::pdptes) != 0) [[unlikely]]
            load_page_directory_pointers(host);
        for (; this->stale_msrs_ != 0; this->stale_msrs_ &= this->stale_msrs_ - 1) {
            auto const i = static_cast<unsigned>(std::countr_zero(this->stale_msrs_));
            if (is_switched_on(on, i))
                static_cast<void>(host.write_msr(switched_msrs[i], this->switched_[i]));
        }
        bool stored{not this->vmcs_.refused()};
        if constexpr (WithApic)
            stored = this->store_apic() and stored;
        if (not stored) [[unlikely]] {
            refuse(entry_outcome::vmfail_invalid);
            return false;
        }
        if (this->xsave_ and this->xcr0_ != host_xcr0) {
            WorldSwitch::write_xcr0(this->xcr0_);
            this->due_ |= due::extended_state;
        }
        if (on.displaced_.xss != 0) [[unlikely]] { // XSAVES would reach the host's supervisor state
            static_cast<void>(host.write_msr(x86::msr::ia32_xss, 0));
            this->due_ |= due::extended_state;
        }
        return true;
    }

    template <typename Host>
    [[nodiscard, gnu::cold, gnu::noinline]] auto not_entered(Host& host, processor<WorldSwitch>& on,
                                                             entry_outcome outcome) -> bool {
        this->vmcs_.renew();
        return conclude(host, on, outcome);
    }

    /// What an exit asks for besides serving it. False: it was none, the processor refused the guest.
    template <typename Host>
    [[nodiscard, gnu::noinline]] auto conclude(Host& host, processor<WorldSwitch>& on, entry_outcome outcome) -> bool {
        if ((this->due_ & due::extended_state) != 0) {
            if (this->xsave_ and this->xcr0_ != on.displaced_.xcr0)
                WorldSwitch::write_xcr0(on.displaced_.xcr0);
            if (on.displaced_.xss != 0) [[unlikely]]
                static_cast<void>(host.write_msr(x86::msr::ia32_xss, on.displaced_.xss));
        }
        bool const failed{(this->vmcs_.template read<exit_reason>() & entry_failure_bit) != 0};
        if (outcome != entry_outcome::exited or failed) [[unlikely]] {
            refuse(outcome);
            return false;
        }
        launched_ = true;
        this->due_ &= ~(due::first_entry | due::event);
        this->after_delivery();
        return true;
    }

    /// Translations that the guest left behind on an earlier processor may be stale when it comes back: those of the
    /// nested tables carry no VPID. So each move starts with a new VPID and without anything of these tables.
    void choose_address_space(processor<WorldSwitch>& on, std::uint32_t work) {
        auto const moved = last_processor_ != &on or last_epoch_ != on.epoch_;
        if (moved or generation_ != on.address_spaces_.generation()) {
            auto const granted = on.address_spaces_.take();
            generation_ = granted.generation;
            vpid_ = static_cast<std::uint16_t>(granted.tag);
            this->vmcs_.template write<virtual_processor_identifier>(vpid_);
            if (granted.flush_all)
                WorldSwitch::invvpid(invvpid_type::all_contexts, 0);
        } else if ((work & due::flush_linear) != 0) {
            WorldSwitch::invvpid(invvpid_type::single_context, vpid_);
        }
        if (moved or (work & due::flush) != 0)
            WorldSwitch::invept(invept_type::single_context, this->vmcs_.template read<ept_pointer>());
        last_processor_ = &on;
        last_epoch_ = on.epoch_;
    }

    /// PAE paging works with four entries that only MOV to CR0, CR3 and CR4 load: what a setter changed, VM entry takes
    /// from the VMCS. Bits that MOV would refuse are dropped. SDM Vol. 3A, "PDPTE Registers".
    template <typename Host>
    [[gnu::cold, gnu::noinline]] void load_page_directory_pointers(Host& host) {
        if ((this->cr0() & x86::cr0::pg) == 0 or (this->cr4() & x86::cr4::pae) == 0 or
            (this->efer() & x86::efer::lma) != 0)
            return;
        auto const table = gpa{this->cr3() & 0xffff'ffe0};
        auto const* const page = guest_page(host, table);
        for (unsigned i{0}; i < 4; ++i) {
            std::uint64_t const entry{page == nullptr ? 0 : page[table.page_offset() / 8 + i]};
            auto const usable = x86::paging::bits(this->physical_address_bits_ - 1u, 9) | x86::paging::present |
                                x86::paging::write_through | x86::paging::cache_disable;
            this->vmcs_.template write<guest_pdpte0>((entry & x86::paging::present) != 0 ? entry & usable : 0, i);
        }
    }

    /// The page of guest memory that an address lies in; null without one.
    template <typename Host>
    [[nodiscard]] auto guest_page(Host& host, gpa address) const -> std::uint64_t const* {
        auto table = nested_root_;
        for (unsigned level{4}; level > 0; --level) {
            auto const shift = page_shift + 9 * (level - 1);
            auto const entry = static_cast<std::uint64_t const*>(host.pointer(table))[address.value >> shift & 511];
            if (not ept_format::is_present(entry))
                return nullptr;
            table = ept_format::address(entry);
            if (ept_format::is_leaf(entry, level)) {
                auto const inside = address.value & ((1ull << shift) - 1) & ~(page_size - 1);
                return static_cast<std::uint64_t const*>(
                    host.pointer(hpa{(table.value & ~((1ull << shift) - 1)) + inside}));
            }
        }
        return nullptr;
    }

    /// SDM Vol. 3A, "Processor State After Reset"; whoever builds a machine resets it again through the setters.
    void power_on() {
        this->set_efer(0);
        this->set_cr0(x86::cr0::cd | x86::cr0::nw | x86::cr0::et);
        this->set_cr4(0);
        this->set_rflags(0);
        this->set_rip(0xfff0);
        set_debug_register(6, 0xffff'0ff0);
        set_debug_register(7, debug_control_off);
        for (auto const name : std::array{x86::segment_name::es, x86::segment_name::ss, x86::segment_name::ds,
                                          x86::segment_name::fs, x86::segment_name::gs})
            this->set_segment(name, {.limit = 0xffff, .access = 0x93});
        this->set_segment(x86::segment_name::cs,
                          {.base = 0xffff'0000, .limit = 0xffff, .access = 0x9b, .selector = 0xf000});
        this->set_segment(x86::segment_name::ldtr, {.limit = 0xffff, .access = 0x82});
        this->set_segment(x86::segment_name::tr, {.limit = 0xffff, .access = 0x8b});
        this->set_gdtr({.limit = 0xffff});
        this->set_idtr({.limit = 0xffff});
    }

    std::uint8_t* pages_{};
    hpa physical_{}, nested_root_{};
    processor<WorldSwitch> const* last_processor_{};
    std::uint64_t last_epoch_{};
    std::uint64_t generation_{};
    std::uint64_t host_rsp_{};
    std::uint64_t xcr0_allowed_{};
    preemption_timer timer_{};
    guest_speculation<WorldSwitch> speculation_{};
    std::uint16_t vpid_{};
    entry_outcome outcome_{};
    bool hidden_states_{};
    bool launched_{};
    bool zero_length_events_{};
    bool string_io_information_{};
};

} // namespace hv::backends::vmx
