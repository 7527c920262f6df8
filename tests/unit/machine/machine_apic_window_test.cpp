// SPDX-License-Identifier: BSD-2-Clause
#include "whole_machine.hpp"

#include <hv/vcpu_run_state.hpp>

#include <catch2/catch.hpp>

#include <memory>
#include <utility>
#include <vector>

using namespace hv;
using namespace hv::test;

namespace {

/// A processor that is told to run local APICs, and leaves accesses to the page at the APIC's address to memory.
class apic_vm : public backends::fake::vm {
  public:
    template <typename Host>
    [[nodiscard]] auto create(Host& host, vm_controls const& wanted) -> status {
        window_ = host.allocate(page_size, page_size);
        at_ = host.physical(window_);
        return backends::fake::vm::create(host, wanted);
    }
    template <typename Host>
    void destroy(Host& host) {
        host.free(window_, page_size);
        backends::fake::vm::destroy(host);
    }
    [[nodiscard]] auto apic_window() const -> hpa { return at_; }

  private:
    void* window_{};
    hpa at_{};
};
class apic_vcpu : public backends::fake::vcpu {
  public:
    template <typename Host>
    [[nodiscard]] auto create(Host& host, apic_vm const& machine) -> status {
        as_ = virtual_apic::off;
        return backends::fake::vcpu::create(host, machine);
    }
    [[nodiscard]] auto apic_page() -> x86::apic::page& { return page_; }
    void run_apic(virtual_apic as) { as_ = as; }
    [[nodiscard]] auto runs_apic_as() const -> virtual_apic { return as_; }

  private:
    x86::apic::page page_{};
    virtual_apic as_{};
};
struct apic_fake : fake {
    using vm = apic_vm;
    using vcpu = apic_vcpu;
};
struct leave_at_device {
    auto on(exits::nested_page_fault const&, auto&) -> verdict { return verdict::leave; }
};
struct apic_pc : fake_pc {
    using backend = apic_fake;
    using handlers = exit_chain<leave_at_pause, leave_at_device>;
    static constexpr apic_policy apic{apic_policy::virtualised};
    static constexpr unsigned max_vcpus{2};
};

/// The identification register.
script::step const read_apic{script::load{gpa{x86::apic::default_base + 0x20}, 4}};
script::step const leave{script::exit{exits::pause{}}};

} // namespace

TEMPLATE_TEST_CASE("a vCPU that joins late finds its local APIC, although others run theirs on a page there", "",
                   hosted::serial_host, hosted::host) {
    TestType host{{.memory = std::size_t{64} << 20}};
    vmm<apic_pc, TestType> monitor{host};
    auto machine = std::make_unique<vm<apic_pc, TestType>>();
    offer_everything(host);
    REQUIRE(monitor.enable() == status::ok);
    REQUIRE(monitor.create(*machine) == status::ok);
    REQUIRE(machine->give_memory({.size = 1u << 20}) == status::ok);
    REQUIRE(machine->activate(0) == status::ok);
    auto& first = machine->cpu(0);
    auto& second = machine->cpu(1);
    auto const run = [](auto& cpu, std::vector<script::step> steps) {
        cpu.hardware().run_script(std::move(steps));
        CHECK(cpu.run() == run_end::left);
        return cpu.hardware().loaded.size();
    };
    first.apic().set_virtual_wire();
    CHECK(run(first, {read_apic, leave}) == 1); // at once

    REQUIRE(machine->activate(1) == status::ok);
    inject_start_up(second, 0x10);
    CHECK(run(second, {read_apic, leave}) == 0); // by an exit
    CHECK(run(first, {read_apic, leave}) == 1);  // it exits too

    second.apic().set_virtual_wire();
    CHECK(run(second, {read_apic, leave}) == 1);
    CHECK(run(first, {read_apic, leave}) == 2);
    machine->destroy();
    monitor.disable();
}
