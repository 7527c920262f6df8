// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/backend.hpp>
#include <hv/exit.hpp>
#include <hv/memory/nested_table.hpp>
#include <hv/status.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/registers.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

/// What a processor does, seen by running a guest of three instructions. Only for start-up.
namespace hv::backends::svm {

/// Ends the trial at its first exit that tells something.
struct xsetbv_trial {
    bool exited{};

    auto on(exits::xsetbv const&) -> verdict {
        exited = true;
        return verdict::leave;
    }
    auto on(exits::host_interrupt const&) -> verdict { return verdict::resume; }
    auto on(auto const&) -> verdict { return verdict::leave; }
};

/// A function of its own: hv-verify is told that its return leaves the hot path.
template <typename Backend, typename Host>
[[gnu::noinline, gnu::cold]] void run_trial(Host& host, typename Backend::processor& on, typename Backend::vcpu& cpu,
                                            xsetbv_trial& trial) {
    constexpr int most_interrupts{1000};
    cpu.attach(host, on);
    for (int i{0}; i != most_interrupts; ++i)
        if (Backend::enter(host, on, cpu, trial) != verdict::resume)
            break;
    cpu.detach(host, on);
}

/// Whether XSETBV exits on this processor, whose host has CR4.OSXSAVE on. False also if there is no memory to try it.
template <typename Backend, typename Host>
[[nodiscard, gnu::noinline, gnu::cold]] auto xsetbv_exits(Host& host, typename Backend::processor& on) -> bool {
    constexpr std::array code{std::byte{0x0f}, std::byte{0x01}, std::byte{0xd0}, // XGETBV
                              std::byte{0x0f}, std::byte{0x01}, std::byte{0xd1}, // XSETBV
                              std::byte{0xf4}};                                  // HLT
    xsetbv_trial trial;
    nested_table<typename Backend::nested_format, Host> tables;
    typename Backend::vm machine;
    typename Backend::vcpu cpu;
    auto* const page = static_cast<std::byte*>(host.allocate(page_size, page_size));
    if (page == nullptr)
        return false;
    for (std::size_t i{0}; i != code.size(); ++i)
        page[i] = code[i];
    constexpr auto all = access::read | access::write | access::execute;
    if (tables.create(host) == status::ok and
        tables.map(host, gpa{0}, host.physical(page), page_size, all, memory_type::write_back) == status::ok and
        machine.create(host, {.nested_root = tables.root(host)}) == status::ok and
        cpu.create(host, machine) == status::ok) {
        cpu.set_segment(x86::segment_name::cs, {.limit = 0xffff, .access = 0x9b});
        cpu.set_rip(0);
        cpu.set_cr4(x86::cr4::osxsave);
        run_trial<Backend>(host, on, cpu, trial);
    }
    cpu.destroy(host);
    machine.destroy(host);
    tables.destroy(host);
    host.free(page, page_size);
    return trial.exited;
}

} // namespace hv::backends::svm
