// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "exit_summary.hpp"
#include "svm_model.hpp"

#include <hv/backends/fake/script.hpp>
#include <hv/memory/nested_table.hpp>
#include <hv/memory/npt.hpp>
#include <hv/x86/msr.hpp>
#include <kernel_glue/hosted/host.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>

namespace hv::test {

/// Turns an exit back into what the processor writes into the VMCB.
inline void act(svm_model::guest& g, script::any_exit const& exit) {
    using namespace exits;
    auto const set_edx_eax = [&g](std::uint64_t value) {
        g.state.save.rax = value & 0xffff'ffff;
        g.gprs[2] = value >> 32;
    };
    struct cases {
        svm_model::guest& g;
        decltype(set_edx_eax)& edx_eax;

        void operator()(io_port const& e) {
            auto const info = std::uint64_t{e.port} << 16 | (e.in ? 1u : 0u) | (e.string ? 4u : 0u) |
                              (e.rep ? 8u : 0u) | std::uint64_t{e.size} << 4 |
                              (e.address_size == 8   ? 0x200u
                               : e.address_size == 4 ? 0x100u
                               : e.address_size == 2 ? 0x80u
                                                     : 0u) |
                              static_cast<std::uint64_t>(e.segment) << 10;
            g.exit(0x7b, info, g.state.save.rip + g.length);
        }
        void operator()(cpuid const&) { g.exit(0x72); }
        void operator()(hlt const&) { g.exit(0x78); }
        void operator()(msr_read const& e) {
            g.gprs[1] = e.index;
            g.exit(0x7c, 0);
        }
        void operator()(msr_write const& e) {
            g.gprs[1] = e.index;
            edx_eax(e.value);
            g.exit(0x7c, 1);
        }
        void operator()(nested_page_fault const& e) {
            auto const info = (e.present ? 1u : 0u) | (e.wanted == access::write ? 2u : 0u) |
                              (e.wanted == access::execute ? 16u : 0u) | 4u |
                              (e.page_walk ? std::uint64_t{1} << 33 : std::uint64_t{1} << 32);
            g.exit(0x400, info, e.address.value);
            g.state.control.bytes_fetched = e.instruction.count;
            for (unsigned i{0}; i < e.instruction.count; ++i)
                g.state.control.guest_instruction_bytes[i] = e.instruction.bytes[i];
            g.length = 0;
        }
        void operator()(control_register const& e) {
            g.exit(e.number + (e.write ? 0x10u : 0u),
                   e.decoded ? std::uint64_t{1} << 63 | static_cast<std::uint64_t>(e.source) : 0);
        }
        void operator()(debug_register const& e) {
            g.exit(e.number + (e.write ? 0x30u : 0x20u), static_cast<std::uint64_t>(e.source));
        }
        void operator()(descriptor_table const& e) {
            constexpr unsigned codes[]{0x67, 0x66, 0x68, 0x69};
            g.exit(codes[static_cast<unsigned>(e.which)] + (e.write ? 4u : 0u));
        }
        void operator()(exits::exception const& e) {
            g.exit(0x40u + static_cast<unsigned>(e.vector), e.error_code, e.qualification);
            if (e.vector == x86::exception::debug)
                g.state.write(g.state.save.dr6, 0xffff'0ff0 | e.qualification);
        }
        void operator()(hypercall const&) { g.exit(0x81); }
        void operator()(undefined_instruction const&) { g.exit(0x82); }
        void operator()(xsetbv const& e) {
            g.gprs[1] = e.index;
            edx_eax(e.value);
            g.exit(0x8d);
        }
        void operator()(cache_control const&) { g.exit(0x89); }
        void operator()(pause const&) { g.exit(0x77); }
        void operator()(monitor const&) { g.exit(0x8a); }
        void operator()(mwait const&) { g.exit(0x8b); }
        void operator()(tsc_read const& e) { g.exit(e.with_aux ? 0x87 : 0x6e); }
        void operator()(rdpmc const&) { g.exit(0x6f); }
        void operator()(apic_write const&) { g.exit(0x402); }
        void operator()(end_of_interrupt const&) { g.exit(0x402); }
        void operator()(interrupt_window const&) { g.exit(0x64); }
        void operator()(nmi_window const&) { g.exit(0x74); }
        void operator()(host_interrupt const&) { g.exit(0x60); }
        void operator()(deadline const&) { g.exit(0xffff); } // SVM has none
        void operator()(machine_check const&) { g.exit(0x52); }
        void operator()(task_switch const& e) {
            using source = task_switch::source;
            auto const info = (e.reason == source::iret ? std::uint64_t{1} << 36 : 0) |
                              (e.reason == source::jmp ? std::uint64_t{1} << 38 : 0) |
                              (e.has_error_code ? std::uint64_t{1} << 44 | e.error_code : 0);
            g.exit(0x7d, e.selector, info);
            if (e.reason == source::gate)
                g.state.control.exitintinfo = 0x8000'0312;
        }
        void operator()(triple_fault const&) { g.exit(0x7f); }
        void operator()(entry_failed const&) { g.exit(~std::uint64_t{0}); }
        void operator()(isolation_broken const&) { g.exit(~std::uint64_t{1}); }
        void operator()(unknown const& e) { g.exit(e.code, e.information[0], e.information[1]); }
    };
    std::visit(cases{g, set_edx_eax}, exit);
}

/// One vCPU on a modelled SVM processor, as the contract wants to see it. The backend is modelled_svm, or stands before
/// it.
template <typename Backend>
struct basic_svm_seat {
    using backend = Backend;
    static constexpr bool nmi_window_comes_before_iret{true};

    explicit basic_svm_seat(vm_controls controls = {}) {
        outer = std::exchange(modelled_world_switch::model, &model);
        describe_processor();
        REQUIRE(tables.create(host) == status::ok);
        controls.nested_root = tables.root(host);
        for (unsigned i{0}; i < 2; ++i) {
            hosted::this_processor = i;
            prepare_msrs();
            REQUIRE(processors[i].enable(host) == status::ok);
        }
        hosted::this_processor = 0;
        REQUIRE(machine.create(host, controls) == status::ok);
        REQUIRE(cpu.create(host, machine) == status::ok);
        cpu.attach(host, processors[0]);
    }
    ~basic_svm_seat() {
        cpu.detach(host, processors[hosted::this_processor]);
        cpu.destroy(host);
        machine.destroy(host);
        tables.destroy(host);
        hosted::this_processor = 0;
        modelled_world_switch::model = outer;
    }
    basic_svm_seat(basic_svm_seat const&) = delete;
    auto operator=(basic_svm_seat const&) -> basic_svm_seat& = delete;

    void describe_processor() {
        auto const features = 1u | (model.has_next_rip ? 8u : 0u) | (model.has_clean_bits ? 0x20u : 0u) |
                              (model.has_flush_by_asid ? 0x40u : 0u) | (model.has_tsc_ratio ? 0x10u : 0u) | 0x80u |
                              model.other_features;
        host.set_cpuid(0x8000'0000, 0, {.eax = 0x8000'001f});
        host.set_cpuid(0x8000'0001, 0, {.ecx = 4, .edx = 1u << 27});
        host.set_cpuid(0x8000'000a, 0, {.eax = 1, .ebx = model.asids, .ecx = 0, .edx = features});
        host.set_cpuid(1, 0, {.ecx = 1u << 27 | 1u << 26});
        prepare_msrs();
    }
    /// The hosted host has one set of MSRs for all processors.
    void prepare_msrs() {
        host.set_msr(x86::msr::ia32_efer, 0xd01);
        host.set_msr(x86::msr::amd_vm_hsave_pa, 0);
        host.set_msr(x86::msr::ia32_tsc_aux, 0x1234);
        if (model.has_tsc_ratio)
            host.set_msr(0xc000'0104, 0x1'0000'0000);
    }

    /// The next entry executes an instruction of this length that exits, maybe in the middle of a delivery.
    void will_exit(script::any_exit exit, std::uint8_t length = 2, event interrupts = {}) {
        model.next = [=](svm_model::guest& g) {
            g.length = length;
            act(g, exit);
            if (interrupts.valid())
                g.state.control.exitintinfo = interrupts.raw;
        };
    }
    /// The delivery of what the next entry injects exits.
    void delivery_will_exit(script::any_exit exit) {
        model.next = [this, exit](svm_model::guest& g) {
            act(g, exit);
            REQUIRE_FALSE(model.delivered.empty());
            g.state.control.exitintinfo = model.delivered.back().raw;
            model.delivered.pop_back();
        };
    }
    /// The next entry loads 8 bytes and, if it gets them, halts.
    void will_load(gpa from) {
        model.next = [this, from](svm_model::guest& g) {
            if (auto const where = g.reach(from, access::read)) {
                loaded = *static_cast<std::uint64_t*>(host.pointer(*where));
                g.exit(0x78);
            }
        };
    }
    void will_store(gpa to, std::uint64_t value) {
        model.next = [this, to, value](svm_model::guest& g) {
            if (auto const where = g.reach(to, access::write)) {
                *static_cast<std::uint64_t*>(host.pointer(*where)) = value;
                g.exit(0x78);
            }
        };
    }
    /// The next entry executes IRET and then halts.
    void will_iret() {
        model.next = [](svm_model::guest& g) {
            if ((g.state.control.intercept_misc1 & 1u << 20) != 0)
                return g.exit(0x74);
            g.state.save.rflags |= 0x200;
            g.state.control.interrupt_shadow = 0;
            g.exit(0x78);
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
    svm_model model{host};
    svm_model* outer{}; ///< seats nest
    nested_table<npt_format, hosted::host> tables{};
    typename backend::processor processors[2]{};
    typename backend::vm machine{};
    typename backend::vcpu cpu{};
    std::uint64_t loaded{};
};
using svm_seat = basic_svm_seat<modelled_svm>;

} // namespace hv::test
