// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/backend.hpp>
#include <hv/backends/vmx/controls.hpp>
#include <hv/backends/vmx/features.hpp>
#include <hv/backends/vmx/permissions.hpp>
#include <hv/backends/vmx/registers.hpp>
#include <hv/memory/ept.hpp>
#include <hv/status.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace hv::backends::vmx {

/// What the vCPUs of one VM share: MSR bitmaps, nested tables and controls.
class vm {
  public:
    /// invalid_argument if a direct MSR is none that the world switch exchanges; no_device if the processor lacks what
    /// this machine needs; out_of_memory.
    template <typename Host>
    [[nodiscard]] auto create(Host& host, vm_controls const& machine) -> status {
        destroy(host);
        features_ = read_features(host);
        if (not features_.first_lack(machine).empty())
            return status::no_device;
        pages_size_ = machine.run_apic ? 3 * page_size : page_size;
        map_ = static_cast<std::byte*>(host.allocate(pages_size_, page_size));
        if (map_ == nullptr)
            return status::out_of_memory;
        auto const msrs = std::span<std::byte, msr_permission_map_size>{map_, msr_permission_map_size};
        if (auto const filled = fill_msr_permissions(msrs, machine.direct_msrs); filled != status::ok) {
            destroy(host);
            return filled;
        }
        direct_msrs_ = 1u << kernel_gs_base_slot; // SWAPGS writes it
        for (unsigned i{0}; i < switched_msrs.size(); ++i)
            for (auto const index : machine.direct_msrs)
                if (index == switched_msrs[i])
                    direct_msrs_ |= 1u << i;
        msr_permissions_ = host.physical(map_);
        tsc_ratio_ = machine.tsc_ratio;
        if (tsc_ratio_ != 0 and not features_.has_tsc_scaling()) {
            destroy(host);
            return status::no_device;
        }
        if (machine.run_apic) {
            auto const of_x2apic = std::span<std::byte, msr_permission_map_size>{map_ + page_size, page_size};
            static_cast<void>(fill_msr_permissions(of_x2apic, machine.direct_msrs)); // as above
            permit_x2apic(of_x2apic, machine.apic_readable);
        }
        nested_root_ = machine.nested_root;
        ept_pointer_ = ept_format::pointer(nested_root_, features_.has_accessed_and_dirty());
        controls_ = controls_for(machine);
        controls_.pin |= pin::activate_preemption_timer;
        controls_ = {.pin = features_.pin.adjusted(controls_.pin),
                     .primary = features_.primary.adjusted(controls_.primary),
                     .secondary = features_.secondary.adjusted(controls_.secondary),
                     .exceptions = controls_.exceptions,
                     .exit = features_.exit.adjusted(controls_.exit),
                     .entry = features_.entry.adjusted(controls_.entry)};
        xsave_ = not machine.hide_xsave and features_.xsave;
        xcr0_allowed_ = machine.xcr0_allowed;
        pauses_ = machine.pauses;
        return status::ok;
    }

    template <typename Host>
    void destroy(Host& host) {
        if (map_ != nullptr)
            host.free(map_, pages_size_);
        map_ = nullptr;
    }

    /// The APIC-access page. No access reaches its bytes: the processor turns each to the virtual-APIC page of the
    /// vCPU.
    [[nodiscard]] auto apic_window() const -> hpa { return msr_permissions_ + 2 * page_size; }

  private:
    template <typename>
    friend class vcpu;
    template <typename>
    friend class apic;

    std::byte* map_{}; ///< MSR bitmaps; then, for local APICs, those of x2APIC mode and the APIC-access page
    std::size_t pages_size_{};
    hpa msr_permissions_{}, nested_root_{};
    std::uint64_t ept_pointer_{};
    std::uint32_t direct_msrs_{};
    features features_{};
    controls controls_{};
    std::uint64_t xcr0_allowed_{}, tsc_ratio_{};
    pause_loop pauses_{};
    bool xsave_{};
};

} // namespace hv::backends::vmx
