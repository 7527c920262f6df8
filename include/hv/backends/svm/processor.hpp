// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/address_space.hpp>
#include <hv/backends/speculation.hpp>
#include <hv/backends/svm/features.hpp>
#include <hv/backends/svm/speculation.hpp>
#include <hv/status.hpp>

#include <array>
#include <cstdint>

namespace hv::backends::svm {

/// One logical processor of the host and what SVM keeps on it.
class processor {
  public:
    template <typename Host>
    [[nodiscard]] auto examine(Host& host) -> processor_report {
        auto report = read_features(host).report();
        report.xsetbv_intercepted = xsetbv_exits_;
        report.speculation = read_speculation(host);
        return report;
    }

    /// Turns SVM on for the current processor. no_device if it does not suffice, busy if somebody else uses SVM,
    /// out_of_memory.
    template <typename Host>
    [[nodiscard]] auto enable(Host& host) -> status {
        features_ = read_features(host);
        if (auto const verdict = features_.report().verdict; verdict != status::ok)
            return verdict;
        auto const efer = host.read_msr(x86::msr::ia32_efer);
        if (not efer)
            return status::no_device;
        if ((efer.value & x86::efer::svme) != 0)
            return status::busy;
        pages_ = host.allocate(2 * page_size, page_size);
        if (pages_ == nullptr)
            return status::out_of_memory;
        auto const save_area = host.physical(pages_);
        host_state_ = save_area + page_size;
        auto done = host.write_msr(x86::msr::ia32_efer, efer.value | x86::efer::svme);
        if (done == status::ok)
            done = host.write_msr(x86::msr::amd_vm_hsave_pa, save_area.value);
        if (done != status::ok) {
            disable(host);
            return status::no_device;
        }
        address_spaces_.start(features_.address_spaces);
        speculation_ = {.has = read_speculation(host)};
        ++epoch_;
        return status::ok;
    }

    template <typename Host>
    void disable(Host& host) {
        if (pages_ == nullptr)
            return;
        // Whether the writes succeed changes nothing: the pages go back zeroed in either case.
        static_cast<void>(host.write_msr(x86::msr::amd_vm_hsave_pa, 0));
        if (auto const efer = host.read_msr(x86::msr::ia32_efer))
            static_cast<void>(host.write_msr(x86::msr::ia32_efer, efer.value & ~x86::efer::svme));
        host.free(pages_, 2 * page_size);
        pages_ = nullptr;
    }

    [[nodiscard]] auto has() const -> features const& { return features_; }
    /// What a trial found; see probe.hpp.
    void note_xsetbv_exits(bool exits) { xsetbv_exits_ = exits; }

  private:
    template <typename WorldSwitch>
    friend class vcpu;

    /// What a vCPU displaces between attach and detach.
    struct displaced {
        std::array<std::uint64_t, 4> debug_addresses{};
        std::uint64_t debug_status{}, debug_control{}, tsc_aux{}, tsc_ratio{}, xcr0{}, xss{};
    };

    features features_{};
    address_spaces address_spaces_{};
    std::uint64_t epoch_{}; ///< counts enables: caches of the processor do not survive one
    void* pages_{};         ///< host save area of VMRUN, then the host's VMCB for VMSAVE and VMLOAD
    hpa host_state_{};
    displaced displaced_{};
    processor_speculation speculation_{};
    bool xsetbv_exits_{};
};

} // namespace hv::backends::svm
