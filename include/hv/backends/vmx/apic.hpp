// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/backend.hpp>
#include <hv/backends/vmx/controls.hpp>
#include <hv/backends/vmx/events.hpp>
#include <hv/backends/vmx/vm.hpp>
#include <hv/x86/apic.hpp>

#include <array>
#include <cstdint>

namespace hv::backends::vmx {

/// The local APIC that the processor runs on the virtual-APIC page: TPR, EOI and self IPI without an exit, delivery at
/// the instruction that allows it. SDM Vol. 3C, "APIC Virtualization and Virtual Interrupts".
template <typename WorldSwitch>
class apic : public events<WorldSwitch> {
  public:
    [[nodiscard]] auto apic_page() -> x86::apic::page& { return *this->virtual_apic_; }
    [[nodiscard]] auto apic_page() const -> x86::apic::page const& { return *this->virtual_apic_; }
    [[nodiscard]] auto runs_apic_as() const -> virtual_apic { return as_; }

    /// Of the two interfaces at most one is virtualised, and what that is decides how cached translations of the
    /// APIC-access page behave: they go.
    void run_apic(virtual_apic as) {
        constexpr auto common = secondary::apic_register_virtualization | secondary::virtual_interrupt_delivery;
        constexpr auto all = common | secondary::virtualize_apic_accesses | secondary::virtualize_x2apic_mode;
        constexpr std::array<std::uint32_t, 3> chosen{0, common | secondary::virtualize_apic_accesses,
                                                      common | secondary::virtualize_x2apic_mode};
        as_ = as;
        auto& fields = this->vmcs_;
        auto const now = fields.template read<secondary_controls>();
        fields.template write<secondary_controls>((now & ~all) | chosen[static_cast<unsigned>(as)]);
        fields.template write<address_of_msr_bitmaps>(
            (as == virtual_apic::x2apic ? x2apic_msr_permissions_ : msr_permissions_).value);
        this->flush_translations();
    }

  protected:
    void prepare_apic(vm const& machine) {
        msr_permissions_ = machine.msr_permissions_;
        x2apic_msr_permissions_ = machine.msr_permissions_ + page_size;
        access_page_ = machine.apic_window();
    }

    /// What the page says, for VM entry: the highest vectors requested and in service, and the vectors whose end exits.
    /// The VMCS is current. False if the processor refused a field.
    [[nodiscard]] auto store_apic() -> bool {
        if (as_ == virtual_apic::off) [[likely]]
            return true;
        auto const& page = *this->virtual_apic_;
        using enum x86::apic::reg;
        auto const status = static_cast<std::uint16_t>(page.highest(in_service) << 8 | page.highest(interrupt_request));
        bool done{WorldSwitch::vmwrite(guest_interrupt_status.encoding, status)};
        for (unsigned i{0}; i < eoi_exits_.size(); ++i) {
            auto const exits = std::uint64_t{page.at(trigger_mode, 2 * i + 1)} << 32 | page.at(trigger_mode, 2 * i);
            if (stored_ and exits == eoi_exits_[i])
                continue;
            eoi_exits_[i] = exits;
            done = WorldSwitch::vmwrite(eoi_exit_bitmap_0.encoding + 2 * i, exits) and done;
        }
        if (not stored_) [[unlikely]]
            done = WorldSwitch::vmwrite(apic_access_address.encoding, access_page_.value) and done;
        stored_ = true;
        return done;
    }

  private:
    hpa msr_permissions_{}, x2apic_msr_permissions_{}, access_page_{};
    std::array<std::uint64_t, 4> eoi_exits_{}; ///< as the VMCS has them
    virtual_apic as_{};
    bool stored_{}; ///< the fields of APIC virtualisation have been written once
};

} // namespace hv::backends::vmx
