// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "svm_seat.hpp"

#include <hv/backends/svm.hpp>

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

using namespace hv;
using namespace hv::test;
using vmcb = backends::svm::vmcb;
namespace parts = backends::svm;

namespace {

/// A member of the VMCB by the offset that the manual prints.
template <typename T>
auto at(vmcb const& block, std::size_t offset) -> T {
    T value;
    std::memcpy(&value, reinterpret_cast<std::byte const*>(&block) + offset, sizeof value);
    return value;
}

/// Enters once; the program looks at what the processor works with.
void look(svm_seat& seat, std::function<void(vmcb const&)> const& see) {
    bool seen{};
    seat.model.next = [&](svm_model::guest& g) {
        see(g.state);
        seen = true;
        g.exit(0x78);
    };
    recording_handler handler;
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seen);
}

/// Gives a bare exit code and answers what the handler got.
auto decode(std::uint64_t code, std::uint64_t info1 = 0, std::uint64_t info2 = 0) -> std::string {
    svm_seat seat;
    seat.model.next = [=](svm_model::guest& g) { g.exit(code, info1, info2); };
    recording_handler handler;
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.seen.size() == 1);
    return handler.last().substr(0, handler.last().find(' '));
}

} // namespace

TEST_CASE("every exit code means one exit") {
    std::map<std::uint64_t, std::string> expected;
    for (std::uint64_t code{0}; code < 0x20; ++code)
        expected[code] = "control_register";
    for (std::uint64_t code{0x20}; code < 0x40; ++code)
        expected[code] = "debug_register";
    for (std::uint64_t code{0x40}; code < 0x60; ++code)
        expected[code] = "exception";
    expected[0x52] = "machine_check";
    for (auto const code : {0x60u, 0x61u, 0x62u, 0x63u})
        expected[code] = "host_interrupt";
    expected[0x64] = "interrupt_window";
    expected[0x65] = "control_register";
    expected[0x6e] = "tsc_read";
    expected[0x6f] = "rdpmc";
    expected[0x72] = "cpuid";
    expected[0x73] = "undefined_instruction";
    expected[0x74] = "nmi_window";
    expected[0x76] = "cache_control";
    expected[0x77] = "pause";
    expected[0x78] = "hlt";
    expected[0x7a] = "undefined_instruction";
    expected[0x7c] = "msr_read";
    expected[0x7d] = "task_switch";
    expected[0x7f] = "triple_fault";
    for (auto const code : {0x80u, 0x82u, 0x83u, 0x84u, 0x85u, 0x86u, 0x8eu})
        expected[code] = "undefined_instruction";
    expected[0x81] = "hypercall";
    expected[0x87] = "tsc_read";
    expected[0x89] = "cache_control";
    expected[0x8a] = "monitor";
    expected[0x8b] = "mwait";
    expected[0x8c] = "mwait";
    expected[0x8d] = "xsetbv";
    expected[0x400] = "nested_page_fault";

    auto const check = [&](std::uint64_t code) {
        auto const found = expected.find(code);
        CAPTURE(code);
        CHECK(decode(code) == (found == expected.end() ? "unknown" : found->second));
    };
    for (std::uint64_t code{0}; code < 0x110; ++code)
        check(code);
    for (std::uint64_t code{0x3ff}; code < 0x410; ++code)
        check(code);
    for (auto const code : {std::uint64_t{0xf000'0000}, std::uint64_t{0x1'0000'0072}, std::uint64_t{0x8000'0000},
                            ~std::uint64_t{1}, ~std::uint64_t{2}})
        check(code);
}

TEST_CASE("a refused entry is found by its low 32 bits, as QEMU stores it") {
    CHECK(decode(0xffff'ffff'ffff'ffff) == "entry_failed");
    CHECK(decode(0x0000'0000'ffff'ffff) == "entry_failed");
    CHECK(decode(0xffff'ffff'ffff'fffe) == "unknown");
}

TEST_CASE("an I/O exit without a size is not served") {
    CHECK(decode(0x7b, 0x03f8'0000, 0) == "unknown");
    CHECK(decode(0x7b, 0x03f8'0010, 0) == "io_port");
}

TEST_CASE("what QEMU leaves out of an I/O exit is reported as unknown, not guessed") {
    auto const exit = parts::decode_io(0x0010'0014, false); // OUTSB without address size and segment
    CHECK(exit.address_size == 0);
    CHECK_FALSE(exit.segment_known);
    CHECK(exit.segment == x86::segment_name::ds);
    CHECK(parts::decode_io(0x0010'0014 | 6u << 10, true).segment_known == false);
    CHECK(parts::decode_io(0x0010'0014 | 5u << 10, true).segment == x86::segment_name::gs);
}

TEST_CASE("without decode assistance a control register write is not decoded") {
    auto const write = parts::decode_control_register(0, true, std::uint64_t{1} << 63 | 3, false);
    CHECK_FALSE(write.decoded);
    auto const lmsw = parts::decode_control_register(0, true, 3, true); // bit 63 clear: not a MOV
    CHECK_FALSE(lmsw.decoded);
}

TEST_CASE("a nested page fault is a page walk only if the processor says so") {
    vmcb block{};
    block.control.exitinfo1 = 4;
    CHECK_FALSE(parts::decode_nested_page_fault(block.control, false).page_walk);
    block.control.exitinfo1 = std::uint64_t{1} << 33 | 6;
    CHECK(parts::decode_nested_page_fault(block.control, false).page_walk);
}

TEST_CASE("the number of fetched bytes cannot exceed the buffer") {
    vmcb block{};
    block.control.bytes_fetched = 0xff;
    CHECK(parts::decode_nested_page_fault(block.control, true).instruction.count == 15);
    CHECK(parts::decode_nested_page_fault(block.control, false).instruction.count == 0);
}

TEST_CASE("CVE-2020-7467, CVE-2021-3656: instructions that act on the host exit in every configuration") {
    for (unsigned choice{0}; choice < 8; ++choice) {
        svm_seat seat{vm_controls{.intercepted_exceptions = (choice & 1) != 0 ? 0x4000u : 0u,
                                  .trap_tsc = (choice & 2) != 0,
                                  .intercept_pause = (choice & 4) != 0}};
        for (int round{0}; round < 3; ++round) {
            look(seat, [&](vmcb const& b) {
                auto const misc1 = at<std::uint32_t>(b, 0x00c), misc2 = at<std::uint32_t>(b, 0x010);
                // VMRUN VMMCALL VMLOAD VMSAVE STGI CLGI SKINIT, WBINVD MONITOR MWAIT MWAIT-armed XSETBV RDPRU
                CHECK((misc2 & 0x7e7f) == 0x7e7f);
                // INTR NMI SMI INIT, RDPMC CPUID RSM INVD HLT INVLPGA IOIO MSR TASK FERR SHUTDOWN
                CHECK((misc1 & 0xfd4c'800f) == 0xfd4c'800f);
                CHECK((at<std::uint32_t>(b, 0x008) & 0x0006'0002) == 0x0006'0002); // #DB #AC #MC
                CHECK((at<std::uint32_t>(b, 0x000) & 0x0011'0000) == 0x0011'0000); // CR0 and CR4 writes
                CHECK(at<std::uint64_t>(b, 0x0b8) == 0);                           // no virtual VMLOAD, no LBR
                CHECK((at<std::uint64_t>(b, 0x060) >> 31 & 1) == 0);               // no AVIC
                CHECK((at<std::uint64_t>(b, 0x060) >> 24 & 1) == 1);               // V_INTR_MASKING
                CHECK(at<std::uint64_t>(b, 0x090) == 1);                           // nested paging, nothing of SEV
                CHECK((misc1 >> 14 & 1) == (choice >> 1 & 1));
                CHECK((misc2 >> 7 & 1) == (choice >> 1 & 1));
                CHECK((misc1 >> 23 & 1) == (choice >> 2 & 1));
                CHECK((at<std::uint32_t>(b, 0x008) >> 14 & 1) == (choice & 1));
            });
            // Nothing that the layers above do may take one away.
            seat.cpu.set_nmi_blocked(round == 0);
            seat.cpu.request_interrupt_window(round == 0);
            seat.cpu.set_cr0(round == 0 ? 0x6000'0010 : 0x11);
        }
    }
}

TEST_CASE("an SMI is intercepted unless the firmware locked SMM") {
    for (bool const locked : {false, true}) {
        svm_seat seat;
        seat.host.set_msr(x86::msr::amd_hwcr, locked ? 1 : 0);
        seat.cpu.detach(seat.host, seat.processors[0]);
        REQUIRE(seat.machine.create(seat.host, {}) == status::ok);
        REQUIRE(seat.cpu.create(seat.host, seat.machine) == status::ok);
        seat.cpu.attach(seat.host, seat.processors[0]);
        look(seat, [&](vmcb const& b) { CHECK((at<std::uint32_t>(b, 0x00c) >> 2 & 1) == (locked ? 0 : 1)); });
    }
}

TEST_CASE("reads of CR0 exit only while the guest's caches are off on paper") {
    svm_seat seat;
    for (auto const cr0 : {std::uint64_t{0x6000'0011}, std::uint64_t{0x11}, std::uint64_t{0x4000'0011}}) {
        seat.cpu.set_cr0(cr0);
        look(seat, [&](vmcb const& b) {
            CHECK(at<std::uint64_t>(b, 0x558) == 0x11);
            CHECK((at<std::uint32_t>(b, 0x000) & 1) == (cr0 >= 0x4000'0000 ? 1 : 0));
        });
    }
}

TEST_CASE("all ports and all MSRs exit but the direct ones") {
    static constexpr std::array direct{x86::msr::ia32_star, x86::msr::ia32_kernel_gs_base, x86::msr::ia32_sysenter_eip};
    svm_seat seat{vm_controls{.direct_msrs = direct}};
    look(seat, [&](vmcb const& b) {
        auto const* const ports = static_cast<std::uint8_t const*>(seat.host.pointer(hpa{at<std::uint64_t>(b, 0x040)}));
        for (unsigned i{0}; i < 0x3000; ++i)
            REQUIRE(ports[i] == 0xff);
        auto const* const msrs = static_cast<std::uint8_t const*>(seat.host.pointer(hpa{at<std::uint64_t>(b, 0x048)}));
        std::map<unsigned, std::uint8_t> open{
            {0x800 + 0x81 / 4, 0xf3},  // C000_0081: second pair of its byte
            {0x800 + 0x102 / 4, 0xcf}, // C000_0102: third
            {0x176 / 4, 0xcf},         // 0000_0176: third
        };
        for (unsigned i{0}; i < 0x2000; ++i)
            REQUIRE(msrs[i] == (open.count(i) != 0 ? open[i] : 0xff));
    });
}

TEST_CASE("a machine cannot ask for an MSR that no world switch exchanges") {
    hosted::host host{hosted::host_config{.memory = std::size_t{16} << 20}};
    for (auto const index :
         {x86::msr::ia32_spec_ctrl, x86::msr::ia32_debugctl, x86::msr::ia32_xss, x86::msr::ia32_efer,
          x86::msr::ia32_tsc, x86::msr::ia32_pat, x86::msr::ia32_tsc_aux, x86::msr::amd_hwcr, x86::msr::amd_vm_hsave_pa,
          x86::msr::ia32_apic_base, std::uint32_t{0x4000'0000}, std::uint32_t{0xffff'ffff}}) {
        std::array const direct{x86::msr::ia32_star, index};
        parts::vm machine;
        CHECK(machine.create(host, {.direct_msrs = direct}) == status::invalid_argument);
        CHECK(host.bytes_in_use() == 0);
    }
}

TEST_CASE("the MSR permission map has two bits for each of three ranges and no more") {
    std::vector<bool> used(0x2000 * 8);
    std::uint64_t covered{};
    for (std::uint64_t const start :
         {0x0ull, 0x4000'0000ull, 0xbfff'd000ull, 0xc000'0000ull, 0xc000'8000ull, 0xc001'0000ull, 0xffff'd000ull})
        for (auto index = start; index < start + 0x3000; ++index) {
            auto const bit = parts::msr_permission_bit(static_cast<std::uint32_t>(index));
            bool const inside{index < 0x2000 or (index >= 0xc000'0000 and index < 0xc000'2000) or
                              (index >= 0xc001'0000 and index < 0xc001'2000)};
            REQUIRE(static_cast<bool>(bit) == inside);
            if (bit) {
                REQUIRE_FALSE(used.at(bit.value));
                REQUIRE(bit.value % 2 == 0);
                used[bit.value] = true;
                ++covered;
            }
        }
    CHECK(covered == 3 * 0x2000);
}

TEST_CASE("every register that a setter changes is what the processor works with next") {
    // The processor holds a clean copy of everything after the first entry; a setter that forgets its clean bit loses.
    svm_seat seat;
    auto& cpu = seat.cpu;
    using enum x86::segment_name;
    auto const segment = x86::segment{.base = 0x1234, .limit = 0x5678, .access = 0x40f3, .selector = 0x33};
    struct change {
        char const* name;
        std::function<void()> make;
        std::size_t offset;
        std::uint64_t value;
    };
    std::vector<change> const changes{
        {"cr0", [&] { cpu.set_cr0(0x8001'0031); }, 0x558, 0x8001'0031},
        {"cr2", [&] { cpu.set_cr2(0x1111); }, 0x640, 0x1111},
        {"cr3", [&] { cpu.set_cr3(0x2000); }, 0x550, 0x2000},
        {"cr4", [&] { cpu.set_cr4(0x6b0); }, 0x548, 0x6b0},
        {"efer", [&] { cpu.set_efer(0x801); }, 0x4d0, 0x1801},
        {"dr6", [&] { cpu.set_debug_register(6, 0xffff'0ff1); }, 0x568, 0xffff'0ff1},
        {"dr7", [&] { cpu.set_debug_register(7, 0x401); }, 0x560, 0x401},
        {"gdtr base", [&] { cpu.set_gdtr({.base = 0x9000, .limit = 0x7f}); }, 0x468, 0x9000},
        {"idtr base", [&] { cpu.set_idtr({.base = 0xa000, .limit = 0xfff}); }, 0x488, 0xa000},
        {"es", [&] { cpu.set_segment(es, segment); }, 0x400, 0x0000'5678'04f3'0033},
        {"cs", [&] { cpu.set_segment(cs, segment); }, 0x410, 0x0000'5678'04f3'0033},
        {"ss", [&] { cpu.set_segment(ss, segment); }, 0x420, 0x0000'5678'04f3'0033},
        {"ds", [&] { cpu.set_segment(ds, segment); }, 0x430, 0x0000'5678'04f3'0033},
        {"fs", [&] { cpu.set_segment(fs, segment); }, 0x440, 0x0000'5678'04f3'0033},
        {"gs", [&] { cpu.set_segment(gs, segment); }, 0x450, 0x0000'5678'04f3'0033},
        {"ldtr", [&] { cpu.set_segment(ldtr, segment); }, 0x470, 0x0000'5678'04f3'0033},
        {"tr", [&] { cpu.set_segment(tr, segment); }, 0x490, 0x0000'5678'04f3'0033},
        {"rip", [&] { cpu.set_rip(0x7777); }, 0x578, 0x7777},
        {"rsp", [&] { cpu.set_gpr(x86::gpr::rsp, 0x8888); }, 0x5d8, 0x8888},
        {"rax", [&] { cpu.set_gpr(x86::gpr::rax, 0x9999); }, 0x5f8, 0x9999},
        {"rflags", [&] { cpu.set_rflags(0x246); }, 0x570, 0x246},
        {"pat", [&] { CHECK(cpu.set_msr(x86::msr::ia32_pat, 0x0606) == status::ok); }, 0x668, 0x0606},
        {"star", [&] { CHECK(cpu.set_msr(x86::msr::ia32_star, 1) == status::ok); }, 0x600, 1},
        {"lstar", [&] { CHECK(cpu.set_msr(x86::msr::ia32_lstar, 2) == status::ok); }, 0x608, 2},
        {"cstar", [&] { CHECK(cpu.set_msr(x86::msr::ia32_cstar, 3) == status::ok); }, 0x610, 3},
        {"fmask", [&] { CHECK(cpu.set_msr(x86::msr::ia32_fmask, 4) == status::ok); }, 0x618, 4},
        {"kernel gs", [&] { CHECK(cpu.set_msr(x86::msr::ia32_kernel_gs_base, 5) == status::ok); }, 0x620, 5},
        {"sysenter cs", [&] { CHECK(cpu.set_msr(x86::msr::ia32_sysenter_cs, 6) == status::ok); }, 0x628, 6},
        {"sysenter esp", [&] { CHECK(cpu.set_msr(x86::msr::ia32_sysenter_esp, 7) == status::ok); }, 0x630, 7},
        {"sysenter eip", [&] { CHECK(cpu.set_msr(x86::msr::ia32_sysenter_eip, 8) == status::ok); }, 0x638, 8},
        {"fs base", [&] { CHECK(cpu.set_msr(x86::msr::ia32_fs_base, 9) == status::ok); }, 0x448, 9},
        {"gs base", [&] { CHECK(cpu.set_msr(x86::msr::ia32_gs_base, 10) == status::ok); }, 0x458, 10},
        {"tsc offset", [&] { cpu.set_tsc_offset(0xfff0); }, 0x050, 0xfff0},
        {"task priority", [&] { cpu.set_task_priority(5); }, 0x060, 0x0100'0005},
        {"shadow", [&] { cpu.set_interrupt_shadow(true); }, 0x068, 1},
        {"event", [&] { cpu.inject(event::make(event_type::external_interrupt, 0x30)); }, 0x0a8, 0x8000'0030},
        {"nmi", [&] { cpu.set_nmi_blocked(true); }, 0x00c, 0x0000'7e7f'fd5c'800f},
        {"window", [&] { cpu.request_interrupt_window(true); }, 0x060, 0x011f'0105},
    };
    look(seat, [](vmcb const&) {});
    for (auto const& c : changes) {
        CAPTURE(c.name);
        c.make();
        look(seat, [&](vmcb const& b) { CHECK(at<std::uint64_t>(b, c.offset) == c.value); });
    }
    CHECK(cpu.cpl() == 3);
}

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

TEST_CASE("a next RIP that no instruction can have is not believed") {
    svm_seat seat;
    recording_handler handler;
    for (auto const distance : {std::uint64_t{0}, std::uint64_t{16}, ~std::uint64_t{0}, std::uint64_t{1} << 63}) {
        seat.model.next = [=](svm_model::guest& g) { g.exit(0x7b, 0x10'0010, g.state.save.rip + distance); };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.cpu.instruction_length() == 0);
    }
}

TEST_CASE("a next RIP that comes with a fault or an interrupt, as on Bochs, is not a length") {
    svm_seat seat;
    recording_handler handler;
    for (auto const code : {0x400u, 0x41u, 0x4eu, 0x51u, 0x5fu, 0x60u, 0x61u, 0x63u, 0x64u, 0x7du, 0x7eu, 0x7fu}) {
        seat.model.next = [=](svm_model::guest& g) {
            g.length = 3;
            g.exit(code);
        };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.cpu.instruction_length() == 0);
    }
    for (auto const code : {0x00u, 0x10u, 0x34u, 0x65u, 0x6eu, 0x72u, 0x7cu, 0x81u, 0x87u, 0x8du, 0x8eu}) {
        seat.model.next = [=](svm_model::guest& g) {
            g.length = 3;
            g.exit(code);
        };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.cpu.instruction_length() == 3);
    }
}

TEST_CASE("ASIDs are never zero, never shared in a generation, and a new generation flushes everything") {
    parts::address_spaces spaces;
    spaces.start(4);
    std::vector<parts::address_spaces::grant> seen;
    for (int i{0}; i < 10; ++i)
        seen.push_back(spaces.take());
    for (std::size_t i{0}; i < seen.size(); ++i) {
        CHECK(seen[i].asid == i % 3 + 1);
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

TEST_CASE("a software interrupt of the guest's own is forgotten: its instruction executes again") {
    svm_seat seat;
    recording_handler handler;
    auto const fault = exits::nested_page_fault{gpa{0x7000}, access::write, false, false, {}};
    for (auto const own : {event::make(event_type::software_interrupt, 0x80), event::make(x86::exception::breakpoint),
                           event::make(x86::exception::overflow)}) {
        seat.will_exit(fault, 0, own);
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK_FALSE(seat.cpu.take_interrupted_event().valid());
    }
    for (auto const fatal : {event::make(x86::exception::page_fault, 2), event::make(event_type::nmi, 2),
                             event::make(event_type::external_interrupt, 0x40)}) {
        seat.will_exit(fault, 0, fatal);
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(seat.cpu.take_interrupted_event() == fatal);
    }
}

TEST_CASE("where the shadow of STI is lost at VMRUN, the window still opens behind the next instruction") {
    svm_seat seat;
    seat.model.keeps_shadow = false;
    auto& cpu = seat.cpu;
    cpu.set_rip(0x1000);
    cpu.set_rflags(x86::rflags::interrupt);
    cpu.set_debug_register(6, 0xffff'0ff1);
    cpu.set_interrupt_shadow(true);
    cpu.request_interrupt_window(true);
    recording_handler handler;

    SECTION("behind an instruction that does not exit") {
        seat.model.next = [](svm_model::guest& g) {
            CHECK((g.state.save.rflags & x86::rflags::tf) != 0);
            g.state.save.rip += 3;
            g.state.write(g.state.save.dr6, g.state.save.dr6 | 0x4000);
            g.exit(0x41);
        };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(handler.last() == "interrupt_window");
        CHECK(cpu.rip() == 0x1003);
    }
    SECTION("never, if it exits: HLT is the handler's") {
        seat.model.next = [](svm_model::guest& g) { g.exit(0x78); };
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(handler.last() == "hlt");
        CHECK(cpu.rip() == 0x1000);
        cpu.set_rip(0x1001);
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(handler.last() == "interrupt_window"); // still asked for
    }
    CHECK(handler.seen.size() <= 2);
    CHECK((cpu.rflags() & x86::rflags::tf) == 0);
    CHECK(cpu.debug_register(6) == 0xffff'0ff1);
}

TEST_CASE("a guest that steps itself through a shadow keeps its trap") {
    svm_seat seat;
    seat.model.keeps_shadow = false;
    seat.cpu.set_rflags(x86::rflags::interrupt | x86::rflags::tf);
    seat.cpu.set_interrupt_shadow(true);
    seat.cpu.request_interrupt_window(true);
    recording_handler handler;
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "interrupt_window");
    CHECK((seat.cpu.rflags() & x86::rflags::tf) != 0);
}

TEST_CASE("registers that VMRUN leaves alone are the guest's inside and the host's outside, a thousand times") {
    svm_seat seat; // shows XSAVE
    auto& cpu = seat.cpu;
    auto& processor = seat.model.processors[0];
    cpu.detach(seat.host, seat.processors[0]);
    std::array<std::uint64_t, 4> const host_addresses{0xa0, 0xa1, 0xa2, 0xa3};
    processor.debug_addresses = host_addresses;
    processor.debug_control = 0x4aa;
    processor.debug_status = 0xffff'0ff2;
    processor.xcr0 = 7;
    seat.host.set_msr(x86::msr::ia32_tsc_aux, 0x1234);
    cpu.set_cr4(x86::cr4::pae | x86::cr4::osxsave);
    CHECK(cpu.cr4() == (x86::cr4::pae | x86::cr4::osxsave));
    std::uint64_t count{};
    for (unsigned i{0}; i < 4; ++i)
        cpu.set_debug_register(i, i);
    CHECK(cpu.set_msr(x86::msr::ia32_tsc_aux, 0) == status::ok);
    cpu.set_xcr0(1);
    leave_always handler;
    for (int stretch{0}; stretch < 100; ++stretch) {
        cpu.attach(seat.host, seat.processors[0]);
        CHECK(processor.debug_control == 0x400);
        for (int entry{0}; entry < 10; ++entry) {
            seat.model.next = [&](svm_model::guest& g) {
                for (unsigned i{0}; i < 4; ++i)
                    CHECK(g.processor.debug_addresses[i] == count + i);
                CHECK(seat.host.read_msr(x86::msr::ia32_tsc_aux).value == count);
                CHECK(g.processor.xcr0 == (count % 2 == 0 ? 1 : 3));
                ++count;
                for (unsigned i{0}; i < 4; ++i)
                    g.processor.debug_addresses[i] = count + i; // the guest writes DR0-3
                g.processor.debug_status = 0xffff'4ff0;         // takes a #DB
                g.processor.xcr0 = count % 2 == 0 ? 1 : 3;      // and executes XSETBV, which QEMU lets through
                g.exit(0x78);
            };
            CHECK(modelled_svm::enter(seat.host, seat.processors[0], cpu, handler) == verdict::leave);
            CHECK(processor.xcr0 == 7);
            CHECK(cpu.xcr0() == (count % 2 == 0 ? 1 : 3));
            CHECK(cpu.debug_register(3) == count + 3);
            CHECK(cpu.set_msr(x86::msr::ia32_tsc_aux, count) == status::ok);
        }
        cpu.detach(seat.host, seat.processors[0]);
        CHECK(processor.debug_addresses == host_addresses);
        CHECK(processor.debug_control == 0x4aa);
        CHECK(processor.debug_status == 0xffff'0ff2);
        CHECK(seat.host.read_msr(x86::msr::ia32_tsc_aux).value == 0x1234);
        CHECK(cpu.debug_register(3) == count + 3);
        CHECK(cpu.debug_register(0) == count);
    }
    CHECK(count == 1000);
    cpu.attach(seat.host, seat.processors[0]); // as the seat found it
}

TEST_CASE("VMRUN and VMSAVE keep the host in different pages") {
    svm_seat seat;
    seat.prepare_msrs();
    modelled_svm::processor processor;
    REQUIRE(processor.enable(seat.host) == status::ok);
    auto const save_area = seat.host.read_msr(x86::msr::amd_vm_hsave_pa).value;
    seat.cpu.detach(seat.host, seat.processors[0]);
    seat.cpu.attach(seat.host, processor);
    auto const host_state = seat.model.processors[0].host_saved;
    CHECK(host_state % page_size == 0);
    CHECK(save_area % page_size == 0);
    CHECK(host_state != save_area);
    CHECK(seat.host.pointer(hpa{host_state}) != seat.host.pointer(hpa{save_area}));
    seat.cpu.detach(seat.host, processor);
    processor.disable(seat.host);
    seat.cpu.attach(seat.host, seat.processors[0]);
}

TEST_CASE("a machine that hides XSAVE never touches XCR0") {
    svm_seat seat{vm_controls{.hide_xsave = true}};
    seat.cpu.set_xcr0(1);
    seat.cpu.set_cr4(x86::cr4::osxsave);
    look(seat, [&](vmcb const& b) {
        CHECK(seat.model.processors[0].xcr0 == 7);
        CHECK((at<std::uint64_t>(b, 0x548) & x86::cr4::osxsave) == 0);
    });
}

TEST_CASE("XSA-278: CR4 bits whose state is not switched do not reach the processor") {
    svm_seat seat;
    seat.cpu.set_cr4(x86::cr4::vmxe | x86::cr4::smxe | x86::cr4::pke | x86::cr4::cet | x86::cr4::pae);
    look(seat, [](vmcb const& b) { CHECK(at<std::uint64_t>(b, 0x548) == x86::cr4::pae); });
}

TEST_CASE("XSA-170, XSA-308: what the processor refuses ends the guest with a reason") {
    struct broken {
        std::uint64_t cr4, cr0, efer;
        char const* reason;
    };
    for (auto const& b :
         {broken{0, 0x8000'0011, 0x100, "CR4.PAE is zero"}, broken{0x20, 0x8000'0010, 0x100, "CR0.PE is zero"}}) {
        svm_seat seat;
        seat.cpu.set_cr4(b.cr4);
        seat.cpu.set_efer(b.efer);
        seat.cpu.set_cr0(b.cr0);
        recording_handler handler;
        CHECK(seat.enter(handler) == verdict::leave);
        REQUIRE(handler.last() == "entry_failed");
        auto const reason = std::string{std::get<exits::entry_failed>(handler.exits.back()).reason};
        CHECK(reason.find(b.reason) != std::string::npos);
    }
    svm_seat seat;
    recording_handler handler;
    seat.cpu.inject({0x8000'0720}); // a type that only Intel has
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "entry_failed");
    CHECK(std::string{std::get<exits::entry_failed>(handler.exits.back()).reason}.find("illegal event") == 0);
    // Whatever comes in through the setters, the fields that they own stay valid.
    svm_seat other;
    other.cpu.set_cr0(~std::uint64_t{0});
    other.cpu.set_cr4(x86::cr4::pae);
    other.cpu.set_efer(0);
    other.cpu.set_debug_register(6, ~std::uint64_t{0});
    other.cpu.set_debug_register(7, ~std::uint64_t{0});
    other.cpu.set_rflags(0);
    look(other, [](vmcb const&) {});
}

TEST_CASE("the words of a refused processor name what it lacks") {
    hosted::host host{hosted::host_config{.memory = std::size_t{16} << 20}};
    modelled_svm::processor p;
    auto const missing = [&] { return std::string{p.examine(host).missing}; };
    CHECK(missing().find("SVM (CPUID") == 0);
    host.set_cpuid(0x8000'0000, 0, {.eax = 0x8000'0009});
    host.set_cpuid(0x8000'0001, 0, {.ecx = 4});
    CHECK(missing().find("SVM (CPUID") == 0);
    host.set_cpuid(0x8000'0000, 0, {.eax = 0x8000'000a});
    CHECK(missing().find("nested paging") == 0);
    host.set_cpuid(0x8000'000a, 0, {.ebx = 1, .edx = 1});
    CHECK(missing().find("EFER.NXE") == 0);
    host.set_msr(x86::msr::ia32_efer, 0x500);
    CHECK(missing().find("EFER.NXE") == 0);
    host.set_msr(x86::msr::ia32_efer, 0xd00);
    CHECK(missing().find("an address space identifier") == 0);
    host.set_cpuid(0x8000'000a, 0, {.ebx = 16, .edx = 1});
    CHECK(missing().empty());
    CHECK(p.examine(host).verdict == status::ok);
    host.set_msr(x86::msr::amd_vm_cr, 0x10);
    CHECK(missing().find("SVM, which the firmware turned off") == 0);
    CHECK(p.examine(host).verdict == status::no_device);
    CHECK(p.enable(host) == status::no_device);
    CHECK(host.msr_writes().empty());
    host.set_msr(x86::msr::amd_vm_cr, 0);
    CHECK(p.enable(host) == status::no_device); // VM_HSAVE_PA does not exist
    CHECK(host.read_msr(x86::msr::ia32_efer).value == 0xd00);
    CHECK(host.bytes_in_use() == 0);
    host.set_msr(x86::msr::amd_vm_hsave_pa, 0);
    host.fail_after(0);
    CHECK(p.enable(host) == status::out_of_memory);
    host.fail_after(host.unlimited);
    CHECK(p.enable(host) == status::ok);
    CHECK(host.read_msr(x86::msr::ia32_efer).value == 0x1d00);
    CHECK(host.read_msr(x86::msr::amd_vm_hsave_pa).value % page_size == 0);
    CHECK(host.read_msr(x86::msr::amd_vm_hsave_pa).value != 0);
    p.disable(host);
    CHECK(host.read_msr(x86::msr::ia32_efer).value == 0xd00);
    CHECK(host.read_msr(x86::msr::amd_vm_hsave_pa).value == 0);
    CHECK(host.bytes_in_use() == 0);
}
