// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "exit_summary.hpp"

#include <hv/backends/fake.hpp>
#include <hv/memory/nested_table.hpp>
#include <hv/memory/npt.hpp>
#include <kernel_glue/hosted/host.hpp>

#include <cstdint>
#include <vector>

namespace hv::test {

/// One vCPU of the fake backend, as the contract wants to see it.
struct fake_seat {
    using backend = fake;
    static constexpr bool nmi_window_comes_before_iret{true};

    explicit fake_seat(vm_controls controls = {}) {
        REQUIRE(tables.create(host) == status::ok);
        controls.nested_root = tables.root(host);
        hosted::this_processor = 0;
        for (auto& p : processors)
            REQUIRE(p.enable(host) == status::ok);
        REQUIRE(machine.create(host, controls) == status::ok);
        REQUIRE(cpu.create(host, machine) == status::ok);
        cpu.attach(host, processors[0]);
    }
    ~fake_seat() {
        cpu.detach(host, processors[hosted::this_processor]);
        cpu.destroy(host);
        machine.destroy(host);
        tables.destroy(host);
        hosted::this_processor = 0;
    }
    fake_seat(fake_seat const&) = delete;
    auto operator=(fake_seat const&) -> fake_seat& = delete;

    void will_exit(script::any_exit exit, std::uint8_t length = 2, event interrupts = {}) {
        cpu.run_script({script::exit{exit, length, interrupts}});
    }
    void delivery_will_exit(script::any_exit exit) { cpu.delivery_will_exit(exit); }
    void will_load(gpa from) { cpu.run_script({script::load{.from = from}, script::exit{exits::hlt{}, 1}}); }
    void will_store(gpa to, std::uint64_t value) {
        cpu.run_script({script::store{.to = to, .value = value}, script::exit{exits::hlt{}, 1}});
    }
    void will_iret() { cpu.run_script({script::iret{}, script::exit{exits::hlt{}, 1}}); }
    void move_to(unsigned processor) {
        cpu.detach(host, processors[hosted::this_processor]);
        hosted::this_processor = processor;
        cpu.attach(host, processors[processor]);
    }
    template <typename Handler>
    auto enter(Handler& handler) -> verdict {
        auto const answer = backend::enter(host, processors[hosted::this_processor], cpu, handler);
        if (not cpu.loaded.empty())
            loaded = cpu.loaded.back();
        return answer;
    }
    [[nodiscard]] auto delivered() const -> std::vector<event> { return cpu.delivered; }

    hosted::host host{hosted::host_config{.memory = std::size_t{16} << 20, .processors = 2}};
    nested_table<npt_format, hosted::host> tables{};
    backend::processor processors[2]{};
    backend::vm machine{};
    backend::vcpu cpu{};
    std::uint64_t loaded{};
};
static_assert(hardware_backend<fake, hosted::host>);

} // namespace hv::test
