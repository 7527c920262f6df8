// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/host.hpp>
#include <hv/machine.hpp>
#include <hv/status.hpp>
#include <hv/vm.hpp>

#include <array>

/// Where reading starts. A machine type and a host become one program:
///
///     hv::vmm<my_machine, my_host> monitor{host};
///     if (monitor.enable() == hv::status::ok) { … monitor.create(machine); machine.activate(0); machine.cpu(0).run();
///     … }
///
/// vm.hpp is one virtual machine, vcpu.hpp one processor of it with the run loop, exit_services.hpp what each exit
/// does.
namespace hv {

/// How many processors of a host can run machines.
template <typename Host>
inline constexpr unsigned most_processors{Host::callers_are_serial ? 1 : 64};

/// The hypervisor of one machine type on one host: turns the processor's virtualisation on and off and makes machines.
template <typename Machine, typename Host>
class vmm {
    static_assert(host<Host>, "the host does not model hv::host");
    static_assert(detail::machine_checks<Machine>::ok);
    static_assert(detail::backend_checks<Machine, Host>::ok);
    using backend = typename Machine::backend;

  public:
    using machine_type = vm<Machine, Host>;

    explicit vmm(Host& h) : host_{h} {}

    /// What the processor has and lacks, for this machine. Changes nothing. After `enable` it also tells what had to be
    /// tried.
    [[nodiscard]] auto examine() -> processor_report {
        auto report = processors_[here()].examine(host_);
        if constexpr (Machine::tsc == tsc_policy::scaled)
            if (report.verdict == status::ok and not report.tsc_scaling) {
                report.verdict = status::no_device;
                report.missing = backend::tsc_scaling.feature;
            }
        if constexpr (requires { processors_[here()].first_lack(host_, controls_of<Machine>()); })
            if (report.verdict == status::ok) {
                report.missing = processors_[here()].first_lack(host_, controls_of<Machine>());
                if (not report.missing.empty())
                    report.verdict = status::no_device;
            }
        return report;
    }

    /// Turns virtualisation on, on this processor. no_device if it cannot run this machine: see examine.
    auto enable() -> status {
        if (auto const verdict = examine().verdict; verdict != status::ok)
            return verdict;
        auto const done = processors_[here()].enable(host_);
        if constexpr (requires { backend::try_out(host_, processors_[here()]); })
            if (done == status::ok)
                backend::try_out(host_, processors_[here()]);
        return done;
    }
    void disable() { processors_[here()].disable(host_); }

    /// Makes an empty virtual machine in place.
    auto create(machine_type& machine) -> status { return machine.create(host_, processors_.data()); }

  private:
    [[nodiscard]] auto here() const -> unsigned {
        if constexpr (Host::callers_are_serial)
            return 0;
        else
            return host_.processor();
    }

    Host& host_;
    std::array<typename backend::processor, most_processors<Host>> processors_{};
};

} // namespace hv
