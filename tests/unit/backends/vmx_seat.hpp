// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "exit_summary.hpp"
#include "vmx_switch_model.hpp"

#include <hv/backends/fake/script.hpp>
#include <hv/memory/ept.hpp>
#include <hv/memory/nested_table.hpp>
#include <kernel_glue/hosted/host.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace hv::test {

/// An event in the format of the VMCS, and its error code.
inline void set_vectoring(vmx_model::guest& g, event e) {
    g.state.set(0x4408, e.raw & 0xffff'ffff);
    g.state.set(0x440a, e.error_code());
}

/// Turns an exit back into what the processor writes into the VMCS.
inline void act(vmx_model::guest& g, script::any_exit const& exit) {
    using namespace exits;
    struct cases {
        vmx_model::guest& g;

        void set_edx_eax(std::uint64_t value) {
            g.gprs[0] = value & 0xffff'ffff;
            g.gprs[2] = value >> 32;
        }
        void operator()(io_port const& e) {
            g.exit(30, (e.size - 1u) | (e.in ? 8u : 0u) | (e.string ? 0x10u : 0u) | (e.rep ? 0x20u : 0u) |
                           std::uint64_t{e.port} << 16);
            if (e.string)
                g.state.set(0x440e, (e.address_size == 8   ? 2u
                                     : e.address_size == 4 ? 1u
                                                           : 0u)
                                            << 7 |
                                        static_cast<std::uint32_t>(e.segment) << 15);
        }
        void operator()(cpuid const&) { g.exit(10); }
        void operator()(hlt const&) { g.exit(12); }
        void operator()(msr_read const& e) {
            g.gprs[1] = e.index;
            g.exit(31);
        }
        void operator()(msr_write const& e) {
            g.gprs[1] = e.index;
            set_edx_eax(e.value);
            g.exit(32);
        }
        void operator()(nested_page_fault const& e) {
            g.exit(48, (e.wanted == access::write     ? 2u
                        : e.wanted == access::execute ? 4u
                                                      : 1u) |
                           (e.present ? 8u : 0u) | 0x80u | (e.page_walk ? 0u : 0x100u));
            g.state.set(0x2400, e.address.value);
            g.length = 0;
        }
        void operator()(control_register const& e) {
            g.exit(28, e.number | (e.write ? 0u : 0x10u) | static_cast<std::uint64_t>(e.source) << 8);
        }
        void operator()(debug_register const& e) {
            g.exit(29, e.number | (e.write ? 0u : 0x10u) | static_cast<std::uint64_t>(e.source) << 8);
        }
        void operator()(descriptor_table const& e) {
            auto const number = static_cast<unsigned>(e.which);
            g.state.set(0x440e, (number & 1) << 28 | (e.write ? 1u << 29 : 0u));
            g.exit(46 + number / 2);
        }
        void operator()(exits::exception const& e) {
            bool const code{x86::has_error_code(e.vector)};
            g.exit_by_event(0x8000'0300u | static_cast<unsigned>(e.vector) | (code ? 0x800u : 0u), e.qualification);
            if (code)
                g.state.set(0x4406, e.error_code);
        }
        void operator()(hypercall const&) { g.exit(18); }
        void operator()(undefined_instruction const&) { g.exit(23); }
        void operator()(xsetbv const& e) {
            g.gprs[1] = e.index;
            set_edx_eax(e.value);
            g.exit(55);
        }
        void operator()(cache_control const&) { g.exit(54); }
        void operator()(pause const&) { g.exit(40); }
        void operator()(monitor const&) { g.exit(39); }
        void operator()(mwait const&) { g.exit(36); }
        void operator()(tsc_read const& e) { g.exit(e.with_aux ? 51 : 16); }
        void operator()(rdpmc const&) { g.exit(15); }
        void operator()(apic_write const& e) { g.exit(56, e.offset); }
        void operator()(end_of_interrupt const& e) { g.exit(45, e.vector); }
        void operator()(interrupt_window const&) { g.exit(7); }
        void operator()(nmi_window const&) { g.exit(8); }
        void operator()(host_interrupt const&) { g.exit(1); }
        void operator()(deadline const&) { g.exit(52); }
        void operator()(machine_check const&) { g.exit_by_event(0x8000'0312); }
        void operator()(task_switch const& e) {
            g.exit(9, e.selector | static_cast<std::uint64_t>(e.reason) << 30);
            if (e.has_error_code)
                set_vectoring(g, event::make(x86::exception::stack_fault, e.error_code));
        }
        void operator()(triple_fault const&) { g.exit(2); }
        void operator()(entry_failed const&) { g.exit(0x8000'0021, 0); }
        void operator()(isolation_broken const&) { g.exit(0xffff); }
        void operator()(unknown const& e) {
            g.exit(static_cast<std::uint32_t>(e.code), e.information[0]);
            g.state.set(0x2400, e.information[1]);
        }
    };
    std::visit(cases{g}, exit);
}

/// One vCPU on a modelled VMX processor, as the contract wants to see it.
struct vmx_seat {
    using backend = modelled_vmx;
    static constexpr bool nmi_window_comes_before_iret{false};

    explicit vmx_seat(vm_controls controls = {}) {
        outer = std::exchange(modelled_vmx_switch::model, &model);
        model.describe();
        REQUIRE(tables.create(host) == status::ok);
        controls.nested_root = tables.root(host);
        for (unsigned i{0}; i < 2; ++i) {
            hosted::this_processor = i;
            REQUIRE(processors[i].enable(host) == status::ok);
        }
        hosted::this_processor = 0;
        REQUIRE(machine.create(host, controls) == status::ok);
        REQUIRE(cpu.create(host, machine) == status::ok);
        cpu.set_cr0(0x31); // real mode has no error codes
        cpu.attach(host, processors[0]);
        attached = true;
    }
    ~vmx_seat() {
        leave_vmx_operation();
        cpu.destroy(host);
        machine.destroy(host);
        tables.destroy(host);
        modelled_vmx_switch::model = outer;
    }
    vmx_seat(vmx_seat const&) = delete;
    auto operator=(vmx_seat const&) -> vmx_seat& = delete;

    void leave_vmx_operation() {
        if (attached)
            cpu.detach(host, processors[hosted::this_processor]);
        attached = false;
        for (unsigned i{0}; i < 2; ++i) {
            hosted::this_processor = i;
            processors[i].disable(host);
        }
        hosted::this_processor = 0;
    }
    /// Processors as the firmware left them.
    void prepare_msrs() { leave_vmx_operation(); }

    /// What VMX reports of an exit that other processors know more or less of.
    [[nodiscard]] static auto as_reported(script::any_exit exit) -> script::any_exit {
        std::visit(
            [](auto& e) {
                using type = std::decay_t<decltype(e)>;
                if constexpr (std::is_same_v<type, exits::io_port>)
                    e = exits::io_port{e.port,    e.size,         e.in,
                                       e.string,  e.rep,          e.string ? e.address_size : std::uint8_t{0},
                                       e.segment, e.segment_known};
                else if constexpr (std::is_same_v<type, exits::nested_page_fault>)
                    e.instruction = {};
                else if constexpr (std::is_same_v<type, exits::control_register>)
                    e.decoded = true;
            },
            exit);
        return exit;
    }

    /// The next entry executes an instruction of this length that exits, maybe in the middle of a delivery.
    void will_exit(script::any_exit exit, std::uint8_t length = 2, event interrupts = {}) {
        model.next = [=](vmx_model::guest& g) {
            g.length = length;
            act(g, exit);
            if (interrupts.valid())
                set_vectoring(g, interrupts);
        };
    }
    /// The delivery of what the next entry injects exits.
    void delivery_will_exit(script::any_exit exit) {
        model.next = [this, exit](vmx_model::guest& g) {
            act(g, exit);
            REQUIRE_FALSE(model.delivered.empty());
            set_vectoring(g, model.delivered.back());
            model.delivered.pop_back();
        };
    }
    /// The next entry loads 8 bytes and, if it gets them, halts.
    void will_load(gpa from) {
        model.next = [this, from](vmx_model::guest& g) {
            if (auto const where = g.reach(from, access::read)) {
                loaded = *static_cast<std::uint64_t*>(host.pointer(*where));
                g.exit(12);
            }
        };
    }
    void will_store(gpa to, std::uint64_t value) {
        model.next = [this, to, value](vmx_model::guest& g) {
            if (auto const where = g.reach(to, access::write)) {
                *static_cast<std::uint64_t*>(host.pointer(*where)) = value;
                g.exit(12);
            }
        };
    }
    /// The next entry executes IRET and then halts.
    void will_iret() {
        model.next = [](vmx_model::guest& g) {
            auto const state = g.state.at(0x4824);
            g.state.set(0x4824, 0);
            g.exit((state & 8) != 0 and (g.state.at(0x4002) & 1u << 22) != 0 ? 8 : 12);
        };
    }
    /// Moves the vCPU to another processor.
    void move_to(unsigned processor) {
        cpu.detach(host, processors[hosted::this_processor]);
        hosted::this_processor = processor;
        cpu.attach(host, processors[processor]);
    }
    template <typename Handler>
    auto enter(Handler& handler) -> verdict {
        return backend::enter(host, processors[hosted::this_processor], cpu, handler);
    }
    [[nodiscard]] auto delivered() const -> std::vector<event> { return model.delivered; }

    hosted::host host{hosted::host_config{.memory = std::size_t{16} << 20, .processors = 2}};
    vmx_model model{host};
    vmx_model* outer{}; ///< seats nest
    nested_table<ept_format, hosted::host> tables{};
    backend::processor processors[2]{};
    backend::vm machine{};
    backend::vcpu cpu{};
    std::uint64_t loaded{};
    bool attached{};
};

} // namespace hv::test
