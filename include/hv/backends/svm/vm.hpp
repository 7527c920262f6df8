// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/backend.hpp>
#include <hv/backends/svm/controls.hpp>
#include <hv/backends/svm/features.hpp>
#include <hv/backends/svm/permissions.hpp>
#include <hv/status.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace hv::backends::svm {

/// What the vCPUs of one VM share: permission maps, nested tables and intercepts.
class vm {
  public:
    /// invalid_argument if a direct MSR is none that the world switch exchanges; no_device if the TSC is to be scaled
    /// and cannot; out_of_memory.
    template <typename Host>
    [[nodiscard]] auto create(Host& host, vm_controls const& controls) -> status {
        destroy(host);
        maps_ = static_cast<std::byte*>(host.allocate(maps_size, page_size));
        if (maps_ == nullptr)
            return status::out_of_memory;
        for (auto& byte : std::span{maps_, io_permission_map_size})
            byte = std::byte{0xff};
        auto const msrs =
            std::span<std::byte, msr_permission_map_size>{maps_ + io_permission_map_size, msr_permission_map_size};
        if (auto const filled = fill_msr_permissions(msrs, controls.direct_msrs); filled != status::ok) {
            destroy(host);
            return filled;
        }
        io_permissions_ = host.physical(maps_);
        msr_permissions_ = io_permissions_ + io_permission_map_size;
        nested_root_ = controls.nested_root;
        auto const f = read_features(host);
        tsc_ratio_ = controls.tsc_ratio;
        if (tsc_ratio_ != 0 and not f.tsc_ratio) {
            destroy(host);
            return status::no_device;
        }
        intercepts_ =
            intercepts_for(controls, {.smi = f.smi_intercept, .invpcid = f.invpcid, .pause_loops = f.pause_filter});
        bool const counts{controls.pause == pause_policy::loop_exits and f.pause_filter};
        pause_count_ = counts ? controls.pauses.count : std::uint16_t{0};
        pause_gap_ = counts and f.pause_filter_threshold ? controls.pauses.gap : std::uint16_t{0};
        xsave_ = not controls.hide_xsave and f.xsave;
        xcr0_allowed_ = controls.xcr0_allowed;
        return status::ok;
    }

    template <typename Host>
    void destroy(Host& host) {
        if (maps_ != nullptr)
            host.free(maps_, maps_size);
        maps_ = nullptr;
    }

  private:
    template <typename WorldSwitch>
    friend class vcpu;

    static constexpr std::size_t maps_size{io_permission_map_size + msr_permission_map_size};

    std::byte* maps_{};
    hpa io_permissions_{}, msr_permissions_{}, nested_root_{};
    intercepts intercepts_{};
    std::uint64_t xcr0_allowed_{}, tsc_ratio_{};
    std::uint16_t pause_count_{}, pause_gap_{};
    bool xsave_{};
};

} // namespace hv::backends::svm
