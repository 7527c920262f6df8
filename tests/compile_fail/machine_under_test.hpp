// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/svm.hpp>
#include <hv/vmm.hpp>

#include <kernel_glue/hosted/host.hpp>

/// A device to build mistakes from.
template <int Number>
struct some_device {
    static constexpr char const* name{"some_device"};
    static constexpr std::array ports{hv::port_range{.first = 0x70 + 2 * Number, .count = 2}};
    auto read_port(auto&, std::uint16_t, unsigned) -> std::uint32_t { return 0; }
    void write_port(auto&, std::uint16_t, unsigned, std::uint32_t) {}
    void reset(auto&) {}
};

struct sound_machine : hv::default_machine {
    using backend = hv::svm;
    using devices = hv::device_set<some_device<0>, some_device<1>>;
    static constexpr bool save_restore{false};
};

/// Makes the compiler look at a machine.
template <typename Machine>
void use() {
    hv::hosted::host host{};
    hv::vmm<Machine, hv::hosted::host> monitor{host};
    (void)monitor.enable();
}
