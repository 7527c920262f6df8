// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/address_space.hpp>
#include <hv/backends/speculation.hpp>
#include <hv/backends/vmx/features.hpp>
#include <hv/backends/vmx/invalidation.hpp>
#include <hv/backends/vmx/registers.hpp>
#include <hv/backends/vmx/speculation.hpp>
#include <hv/backends/vmx/world_switch.hpp>
#include <hv/status.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/msr.hpp>

#include <array>
#include <cstdint>

namespace hv::backends::vmx {

/// One logical processor of the host and what VMX keeps on it.
template <typename WorldSwitch>
class processor {
  public:
    template <typename Host>
    [[nodiscard]] auto examine(Host& host) -> processor_report {
        auto report = read_features(host).report();
        report.speculation = read_speculation(host);
        return report;
    }
    /// What this machine needs and a processor that suffices for others lacks; empty if nothing.
    template <typename Host>
    [[nodiscard]] auto first_lack(Host& host, vm_controls const& machine) -> std::string_view {
        return read_features(host).first_lack(machine);
    }

    /// Turns VMX on for the current processor. no_device if it does not suffice, busy if somebody else uses VMX,
    /// out_of_memory.
    template <typename Host>
    [[nodiscard]] auto enable(Host& host) -> status {
        auto const found = read_features(host);
        if (auto const verdict = found.report().verdict; verdict != status::ok)
            return verdict;
        auto const before = WorldSwitch::read_host_state();
        if ((before.cr4 & x86::cr4::vmxe) != 0)
            return status::busy;
        if (not unlock(host))
            return status::no_device;
        region_ = host.allocate(page_size, page_size);
        if (region_ == nullptr)
            return status::out_of_memory;
        features_ = found;
        *static_cast<std::uint32_t*>(region_) = features_.revision;
        WorldSwitch::write_cr0((before.cr0 | features_.cr0_fixed0) & features_.cr0_fixed1);
        WorldSwitch::write_cr4((before.cr4 | features_.cr4_fixed0) & features_.cr4_fixed1);
        if (not WorldSwitch::vmxon(host.physical(region_))) {
            WorldSwitch::write_cr4(before.cr4);
            host.free(region_, page_size);
            region_ = nullptr;
            return status::no_device;
        }
        // VMXON keeps what an earlier user of VMX left in the caches.
        WorldSwitch::invept(invept_type::all_contexts, 0);
        WorldSwitch::invvpid(invvpid_type::all_contexts, 0);
        address_spaces_.start(vpid_count);
        speculation_ = {.has = read_speculation(host)};
        ++epoch_;
        return status::ok;
    }

    template <typename Host>
    void disable(Host& host) {
        if (region_ == nullptr)
            return;
        WorldSwitch::vmxoff();
        WorldSwitch::write_cr4(WorldSwitch::read_host_state().cr4 & ~x86::cr4::vmxe);
        host.free(region_, page_size);
        region_ = nullptr;
    }

    [[nodiscard]] auto has() const -> features const& { return features_; }

  private:
    template <typename>
    friend class vcpu;

    /// What a vCPU displaces between attach and detach.
    struct displaced {
        std::array<std::uint64_t, 4> debug_addresses{};
        std::uint64_t debug_status{}, debug_control{}, xcr0{}, xss{};
        std::array<std::uint64_t, switched_msrs.size()> msrs{};
        host_state state{};
    };

    /// Where the firmware left VMX open, it is locked as every kernel does: on, outside SMX.
    template <typename Host>
    [[nodiscard]] static auto unlock(Host& host) -> bool {
        auto const now = host.read_msr(x86::msr::ia32_feature_control);
        if (not now or (now.value & feature_control::locked) != 0)
            return true; // without the MSR VMXON has the last word
        return host.write_msr(x86::msr::ia32_feature_control,
                              now.value | feature_control::locked | feature_control::vmx_outside_smx) == status::ok;
    }

    features features_{};
    address_spaces address_spaces_{};
    std::uint64_t epoch_{}; ///< counts enables: caches of the processor do not survive one
    void* region_{};        ///< of VMXON
    displaced displaced_{};
    processor_speculation speculation_{};
};

} // namespace hv::backends::vmx
