// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "svm_look.hpp"

#include <hv/backends/svm.hpp>

#include <cstdint>
#include <memory>
#include <vector>

using namespace hv;
using namespace hv::test;
namespace parts = backends::svm;

TEST_CASE("clean bits are used only where the processor has them") {
    svm_seat seat;
    look(seat, [](vmcb const&) {});
    look(seat, [](vmcb const& b) { CHECK(at<std::uint32_t>(b, 0x0c0) != 0); });
    seat.move_to(1);
    look(seat, [](vmcb const& b) { CHECK(at<std::uint32_t>(b, 0x0c0) == 0); });
    look(seat, [](vmcb const& b) { CHECK(at<std::uint32_t>(b, 0x0c0) != 0); });
    seat.move_to(0);
    look(seat, [](vmcb const& b) { CHECK(at<std::uint32_t>(b, 0x0c0) == 0); });
}

namespace {

/// A processor that lacks what QEMU's lacks: the model throws if the backend uses it anyway.
struct plain_seat : svm_seat {
    plain_seat() {
        cpu.detach(host, processors[0]);
        model.has_clean_bits = model.has_flush_by_asid = model.has_next_rip = false;
        describe_processor();
        for (unsigned i{0}; i < 2; ++i) {
            hosted::this_processor = i;
            processors[i].disable(host);
            prepare_msrs();
            REQUIRE(processors[i].enable(host) == status::ok);
        }
        hosted::this_processor = 0;
        cpu.attach(host, processors[0]);
    }
};

} // namespace

TEST_CASE("a processor with nothing but nested paging runs guests") {
    plain_seat seat;
    recording_handler handler;
    for (int i{0}; i < 100; ++i) {
        seat.cpu.flush_translations();
        look(seat, [](vmcb const& b) { CHECK(at<std::uint32_t>(b, 0x0c0) == 0); });
    }
    seat.cpu.set_rip(0x1000);
    seat.will_exit(exits::cpuid{}, 2);
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.cpu.instruction_length() == 0);
    seat.will_exit(exits::io_port{0x10, 1, false, false, false, 0, x86::segment_name::ds, false}, 2);
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.cpu.instruction_length() == 2);
}

TEST_CASE("the RIP behind an instruction comes from the present processor or is unknown") {
    recording_handler handler;
    svm_seat able;
    able.cpu.set_rip(0x1000);
    able.will_exit(exits::cpuid{}, 2);
    CHECK(able.enter(handler) == verdict::leave);
    CHECK(able.cpu.end_of_instruction() == 0x1002);
    able.cpu.detach(able.host, able.processors[0]);
    able.cpu.attach(able.host, able.processors[0]);
    CHECK(able.cpu.end_of_instruction() == 0); // a processor without nRIP would leave what the last one stored
    plain_seat plain;
    plain.will_exit(exits::cpuid{}, 2);
    CHECK(plain.enter(handler) == verdict::leave);
    CHECK(plain.cpu.end_of_instruction() == 0);
}

TEST_CASE("ASIDs are never zero, never shared in a generation, and a new generation flushes everything") {
    backends::address_spaces spaces;
    spaces.start(4);
    std::vector<backends::address_spaces::grant> seen;
    for (int i{0}; i < 10; ++i)
        seen.push_back(spaces.take());
    for (std::size_t i{0}; i < seen.size(); ++i) {
        CHECK(seen[i].tag == i % 3 + 1);
        CHECK(seen[i].flush_all == (i % 3 == 0));
        CHECK(seen[i].generation == i / 3 + 1);
    }
    spaces.start(4); // enabled again: what was given out before is void
    auto const again = spaces.take();
    CHECK(again.flush_all);
    CHECK(again.generation > seen.back().generation);
}

TEST_CASE("more vCPUs than ASIDs never see each other's memory") {
    for (bool const flush_by_asid : {true, false}) {
        hosted::host host{hosted::host_config{.memory = std::size_t{16} << 20}};
        svm_model model{host, 1};
        model.asids = 4;
        model.has_flush_by_asid = flush_by_asid;
        modelled_world_switch::model = &model;
        host.set_cpuid(0x8000'0000, 0, {.eax = 0x8000'000a});
        host.set_cpuid(0x8000'0001, 0, {.ecx = 4});
        host.set_cpuid(0x8000'000a, 0, {.ebx = 4, .edx = flush_by_asid ? 0x61u : 0x21u});
        host.set_msr(x86::msr::ia32_efer, 0xd00);
        host.set_msr(x86::msr::amd_vm_hsave_pa, 0);
        modelled_svm::processor processor;
        REQUIRE(processor.enable(host) == status::ok);

        struct guest {
            nested_table<npt_format, hosted::host> tables{};
            modelled_svm::vm machine{};
            modelled_svm::vcpu cpu{};
            std::uint64_t* pages[2]{};
            unsigned mapped{};
        };
        std::vector<std::unique_ptr<guest>> guests;
        auto const map = [&host](guest& g, unsigned which) {
            g.mapped = which;
            REQUIRE(g.tables.map(host, gpa{0}, host.physical(g.pages[which]), page_size, access::read,
                                 memory_type::write_back) == status::ok);
        };
        for (std::uint64_t n{0}; n < 7; ++n) {
            auto& g = *guests.emplace_back(std::make_unique<guest>());
            REQUIRE(g.tables.create(host) == status::ok);
            REQUIRE(g.machine.create(host, {.nested_root = g.tables.root(host)}) == status::ok);
            REQUIRE(g.cpu.create(host, g.machine) == status::ok);
            for (unsigned i{0}; i < 2; ++i) {
                g.pages[i] = static_cast<std::uint64_t*>(host.allocate(page_size, page_size));
                *g.pages[i] = 10 * n + i;
            }
            map(g, 0);
        }
        std::uint32_t random{12345};
        auto const any = [&random](unsigned below) {
            random = random * 1664525 + 1013904223;
            return (random >> 16) % below;
        };
        for (int turn{0}; turn < 2000; ++turn) {
            auto const n = any(7);
            auto& g = *guests[n];
            if (any(3) == 0) {
                map(g, any(2));
                g.cpu.flush_translations();
            }
            g.cpu.attach(host, processor);
            std::uint64_t read{999};
            model.next = [&](svm_model::guest& view) {
                CHECK(at<std::uint32_t>(view.state, 0x058) != 0);
                if (auto const where = view.reach(gpa{0}, access::read))
                    read = *static_cast<std::uint64_t*>(host.pointer(*where));
                view.exit(0x78);
            };
            leave_always handler;
            CHECK(modelled_svm::enter(host, processor, g.cpu, handler) == verdict::leave);
            g.cpu.detach(host, processor);
            REQUIRE(read == 10 * n + g.mapped);
        }
        CHECK(model.processors[0].flushes_of_all > 10);
        CHECK((model.processors[0].flushes_of_one > 10) == flush_by_asid);
    }
}

TEST_CASE("after a refused entry nothing counts as flushed") {
    svm_seat seat;
    look(seat, [](vmcb const&) {});
    seat.model.next = [](svm_model::guest& g) { g.exit(~std::uint64_t{0}); };
    recording_handler handler;
    CHECK(seat.enter(handler) == verdict::leave);
    look(seat, [](vmcb const& b) {
        CHECK(at<std::uint32_t>(b, 0x05c) == 1);
        CHECK(at<std::uint32_t>(b, 0x0c0) == 0);
    });
    look(seat, [](vmcb const& b) { CHECK(at<std::uint32_t>(b, 0x05c) == 0); });
}

TEST_CASE("changes of paging flush the guest's translations, others do not") {
    svm_seat seat;
    auto& cpu = seat.cpu;
    look(seat, [](vmcb const&) {});
    auto const flushes = [&](auto&& change) {
        change();
        std::uint32_t how{};
        look(seat, [&](vmcb const& b) { how = at<std::uint32_t>(b, 0x05c); });
        return how == 3;
    };
    CHECK(flushes([&] { cpu.set_cr4(x86::cr4::pae); }));
    CHECK_FALSE(flushes([&] { cpu.set_cr4(x86::cr4::pae); }));
    CHECK(flushes([&] { cpu.set_cr4(x86::cr4::pae | x86::cr4::pge); }));
    CHECK(flushes([&] { cpu.set_cr0(x86::cr0::pg | x86::cr0::pe); }));
    CHECK(flushes([&] { cpu.set_cr0(x86::cr0::pg | x86::cr0::pe | x86::cr0::wp); }));
    CHECK_FALSE(flushes([&] { cpu.set_cr0(x86::cr0::pg | x86::cr0::pe | x86::cr0::wp | x86::cr0::ts); }));
    CHECK(flushes([&] { cpu.set_efer(x86::efer::nxe); }));
    CHECK_FALSE(flushes([&] { cpu.set_efer(x86::efer::nxe); }));
    CHECK(flushes([&] { cpu.set_cr3(0x3000); }));
    CHECK(flushes([&] { cpu.flush_translations(); }));
    CHECK_FALSE(flushes([&] { cpu.set_rip(0x1234); }));
}
