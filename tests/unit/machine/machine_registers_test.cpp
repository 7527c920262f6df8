// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

#include <hv/x86/memory_type.hpp>

using namespace hv;
using namespace hv::test;
using x86::gpr;
namespace msrs = hv::x86::msr;

namespace {

/// A profile that passes everything the processor says: state of the host's must not shine through.
struct careless_profile {
    static constexpr std::uint32_t all{0xffffffff};
    static constexpr std::array rules{
        cpuid_rule{.function = 0, .allow = {all, all, all, all}},
        cpuid_rule{.function = 1, .allow = {all, all, all, all}},
        cpuid_rule{.function = 7, .index = 0, .match_index = true, .allow = {all, all, all, all}},
        cpuid_rule{.function = 0x80000001, .allow = {all, all, all, all}},
    };
};
template <typename Base>
struct careless : Base {
    using cpuid = careless_profile;
};

namespace bits = x86::cpuid_bits;

} // namespace

TEST_CASE("CPUID leaf 1 tells the APIC id, and the APIC as long as it is on") {
    whole_machine<> m;
    auto leaf = m.cpuid(1);
    CHECK(leaf.ebx >> 24 == 0);
    CHECK((leaf.edx & bits::leaf1_edx::apic) != 0);
    CHECK((leaf.ecx & bits::leaf1_ecx::x2apic) != 0);
    CHECK((leaf.ecx & bits::leaf1_ecx::tsc_deadline) != 0);
    CHECK((leaf.ecx & bits::leaf1_ecx::osxsave) == 0);
    CHECK((leaf.ecx & bits::leaf1_ecx::hypervisor) != 0);
    CHECK((leaf.ecx & (bits::leaf1_ecx::vmx | bits::leaf1_ecx::xsave | bits::leaf1_ecx::monitor)) == 0);
    REQUIRE(m.wrmsr(msrs::ia32_apic_base, 0xfee00100)); // off
    leaf = m.cpuid(1);
    CHECK((leaf.edx & bits::leaf1_edx::apic) == 0);
    REQUIRE(m.wrmsr(msrs::ia32_apic_base, 0xfee00900));
    CHECK((m.cpuid(1).edx & bits::leaf1_edx::apic) != 0);
}

TEST_CASE("behind the levels of a topology leaf its number and the APIC id stay") {
    whole_machine<> m;
    CHECK(m.cpuid(0xb, 0) == x86::cpuid_result{0, 1, 0x100, 0});
    CHECK(m.cpuid(0xb, 1) == x86::cpuid_result{0, 1, 0x201, 0});
    m.cpu().cpuid().find(0xb, 0)->values.edx = 0x5a;
    for (auto const index : {2u, 3u, 0xffu, 0x100u, ~0u})
        CHECK(m.cpuid(0xb, index) == x86::cpuid_result{.ecx = index & 0xff, .edx = 0x5a});
    CHECK(m.cpuid(0x1f, 2) == x86::cpuid_result{.ecx = 2});
    CHECK(m.cpuid(0x10b, 2) == x86::cpuid_result{});
}

namespace {
struct eight : fake_pc {
    static constexpr unsigned max_vcpus{8};
};
} // namespace

TEST_CASE("a machine takes a topology before it has processors, and every APIC and leaf follows it") {
    hosted::host host{{.memory = std::size_t{64} << 20, .processors = 2}};
    offer_everything(host);
    vmm<eight, hosted::host> monitor{host};
    REQUIRE(monitor.enable() == status::ok);
    auto const machine = std::make_unique<vm<eight, hosted::host>>();
    REQUIRE(monitor.create(*machine) == status::ok);
    CHECK(machine->topology() == topology{.cores = 8});
    for (auto const& wrong : {topology{0, 1, 1}, topology{3, 3, 1}, topology{~0u, 2, 1}})
        CHECK(machine->set_topology(wrong) == status::invalid_argument);
    CHECK(machine->set_topology({1, 1, 1}, 4) == status::invalid_argument);
    CHECK(machine->topology() == topology{.cores = 8});
    REQUIRE(machine->set_topology({2, 3, 1}) == status::ok);
    REQUIRE(machine->activate_cpus(6) == status::ok);
    CHECK(machine->set_topology({1, 1, 1}) == status::busy);
    CHECK(machine->topology() == topology{2, 3, 1});
    for (auto& cpu : machine->cpus()) {
        auto const id = cpu.id() < 3 ? cpu.id() : cpu.id() + 1;
        CHECK(cpu.apic().id() == id);
        CHECK(cpu.route().id == id);
        CHECK(cpu.cpuid().find(1, 0)->values.ebx >> 24 == id);
        CHECK(cpu.cpuid().find(0xb, 0)->values.edx == id);
        CHECK(cpu.apic().bootstrap_processor() == (cpu.id() == 0));
        cpu.reset();
        CHECK(cpu.apic().id() == id);
    }
    for (auto& cpu : machine->cpus())
        cpu.shared().posted.clear();
    auto& sender = machine->cpu(5);
    machine->deliver({.vector = 0x41, .shorthand = destination_shorthand::all_excluding_self}, &sender);
    for (auto& cpu : machine->cpus())
        CHECK(cpu.shared().posted.any() == (&cpu != &sender));
    machine->destroy();
    REQUIRE(monitor.create(*machine) == status::ok);
    CHECK(machine->topology() == topology{.cores = 8});
    machine->destroy();
    monitor.disable();
}

TEST_CASE("CPUID leaves that nobody names are zeros, and a read clears all upper halves") {
    whole_machine<> m;
    for (auto const leaf : {0x2u, 0x5u, 0xdu, 0x15u, 0x40000001u, 0x80000002u ^ 0x1000u, 0x8000001fu, 0xffffffffu})
        CHECK(m.cpuid(leaf) == x86::cpuid_result{});
    CHECK(m.cpuid(7, 1) == x86::cpuid_result{});
    for (auto const name : {gpr::rax, gpr::rbx, gpr::rcx, gpr::rdx})
        m.guest().set_gpr(name, 0xdeadbeef'00000000);
    m.run({script::exit{exits::cpuid{}}});
    CHECK(m.rax() == 0x1f);
    for (auto const name : {gpr::rbx, gpr::rcx, gpr::rdx})
        CHECK(m.gpr(name) >> 32 == 0);
}

TEST_CASE("what moves in CPUID leaf 1 is the guest's, even if a profile passes the host's") {
    whole_machine<careless<fake_pc>> with;
    auto leaf = with.cpuid(1);
    CHECK(leaf.ebx >> 24 == 0);
    CHECK((leaf.ecx & bits::leaf1_ecx::osxsave) == 0);
    REQUIRE(with.wrmsr(msrs::ia32_apic_base, 0xfee00100));
    CHECK((with.cpuid(1).edx & bits::leaf1_edx::apic) == 0);
    CHECK((with.cpuid(7).ecx & 1u << 4) == 0); // OSPKE

    whole_machine<careless<bare_fake>> without;
    leaf = without.cpuid(1);
    CHECK((leaf.edx & bits::leaf1_edx::apic) == 0);
    CHECK((leaf.ecx & (bits::leaf1_ecx::x2apic | bits::leaf1_ecx::tsc_deadline)) == 0);
}

TEST_CASE("an MSR that does not exist raises #GP and leaves RAX and RDX alone") {
    whole_machine<> m;
    m.guest().set_gpr(gpr::rax, 0x1111111122222222);
    m.guest().set_gpr(gpr::rdx, 0x3333333344444444);
    auto const rip = m.guest().rip();
    for (auto const index : {0x17u, msrs::ia32_spec_ctrl, msrs::ia32_debugctl, msrs::ia32_xss, 0x1003bu,
                             msrs::ia32_feature_control, msrs::amd_vm_cr, msrs::amd_vm_hsave_pa, 0x40000000u, ~0u}) {
        CHECK_FALSE(m.rdmsr(index));
        CHECK_FALSE(m.wrmsr(index, 0));
    }
    CHECK(m.rax() == 0x1111111122222222);
    CHECK(m.gpr(gpr::rdx) == 0x3333333344444444);
    CHECK(m.guest().rip() == rip); // of the instruction: a fault
    CHECK(m.stats().refused_msrs == 20);
}

TEST_CASE("RDMSR clears the upper halves of RAX and RDX") {
    whole_machine<> m;
    m.guest().set_gpr(gpr::rax, ~0ull);
    m.guest().set_gpr(gpr::rdx, ~0ull);
    REQUIRE(m.rdmsr(msrs::ia32_pat));
    CHECK(m.rax() == (x86::pat_at_reset & 0xffffffff));
    CHECK(m.gpr(gpr::rdx) == x86::pat_at_reset >> 32);
}

TEST_CASE("EFER takes the bits that CPUID offers, and LMA is not software's") {
    whole_machine<> m;
    CHECK(m.wrmsr(msrs::ia32_efer, x86::efer::sce | x86::efer::lme | x86::efer::nxe));
    REQUIRE(m.rdmsr(msrs::ia32_efer));
    CHECK(m.msr == (x86::efer::sce | x86::efer::lme | x86::efer::nxe));
    CHECK(m.wrmsr(msrs::ia32_efer, x86::efer::lme | x86::efer::lma));
    REQUIRE(m.rdmsr(msrs::ia32_efer));
    CHECK(m.msr == x86::efer::lme);
    for (auto const bit : {x86::efer::svme, x86::efer::lmsle, x86::efer::ffxsr, x86::efer::tce, 1ul << 1, 1ul << 63})
        CHECK_FALSE(m.wrmsr(msrs::ia32_efer, bit));
    m.long_mode();
    CHECK_FALSE(m.wrmsr(msrs::ia32_efer, 0)); // LME while paging is on
    CHECK(m.wrmsr(msrs::ia32_efer, x86::efer::lme | x86::efer::lma | x86::efer::sce));
    CHECK((m.guest().efer() & x86::efer::lma) != 0);
}

TEST_CASE("PAT refuses types that do not exist") {
    whole_machine<> m;
    CHECK(m.wrmsr(msrs::ia32_pat, 0x0007010600070406));
    REQUIRE(m.rdmsr(msrs::ia32_pat));
    CHECK(m.msr == 0x0007010600070406);
    for (auto const type : {2ull, 3ull, 8ull, 0x86ull})
        for (unsigned shift{0}; shift != 64; shift += 8)
            CHECK_FALSE(m.wrmsr(msrs::ia32_pat, type << shift));
    REQUIRE(m.rdmsr(msrs::ia32_pat));
    CHECK(m.msr == 0x0007010600070406);
}

TEST_CASE("TSC_AUX exists if CPUID offers it, and holds 32 bits") {
    whole_machine<> m;
    REQUIRE(m.wrmsr(msrs::ia32_tsc_aux, 0xfedcba98));
    REQUIRE(m.rdmsr(msrs::ia32_tsc_aux));
    CHECK(m.msr == 0xfedcba98);
    CHECK_FALSE(m.wrmsr(msrs::ia32_tsc_aux, 0x1'0000'0000));
    m.cpu().cpuid().find(0x80000001, 0)->values.edx &= ~bits::extended1_edx::rdtscp;
    CHECK_FALSE(m.rdmsr(msrs::ia32_tsc_aux));
    CHECK_FALSE(m.wrmsr(msrs::ia32_tsc_aux, 1));
}

TEST_CASE("row 29: a non-canonical address reaches no MSR that holds an address") {
    whole_machine<> m;
    for (auto const index : {msrs::ia32_fs_base, msrs::ia32_gs_base, msrs::ia32_kernel_gs_base, msrs::ia32_lstar,
                             msrs::ia32_cstar, msrs::ia32_sysenter_esp, msrs::ia32_sysenter_eip}) {
        REQUIRE(m.wrmsr(index, 0xffff'8000'0000'0000));
        for (auto const bad : {0x0000'8000'0000'0000ull, 0x8000'0000'0000'0000ull, 0xffff'7fff'ffff'ffffull,
                               0x0001'0000'0000'0000ull, 0xdead'beef'dead'beefull})
            CHECK_FALSE(m.wrmsr(index, bad));
        REQUIRE(m.rdmsr(index));
        CHECK(m.msr == 0xffff'8000'0000'0000);
        CHECK(m.wrmsr(index, 0x0000'7fff'ffff'ffff));
    }
    CHECK(m.wrmsr(msrs::ia32_star, 0x0023'0010'dead'beef)); // holds selectors
}

TEST_CASE("IA32_APIC_BASE moves between its modes as the manual allows") {
    whole_machine<> m;
    REQUIRE(m.rdmsr(msrs::ia32_apic_base));
    CHECK(m.msr == 0xfee00900);
    CHECK_FALSE(m.wrmsr(msrs::ia32_apic_base, 0xfee00500)); // x2APIC without enable
    CHECK_FALSE(m.wrmsr(msrs::ia32_apic_base, 0xfee01900)); // elsewhere
    CHECK_FALSE(m.wrmsr(msrs::ia32_apic_base, 0xfee00800)); // not the bootstrap processor any more
    CHECK(m.wrmsr(msrs::ia32_apic_base, 0xfee00d00));
    CHECK_FALSE(m.wrmsr(msrs::ia32_apic_base, 0xfee00900)); // back only through off
    CHECK(m.wrmsr(msrs::ia32_apic_base, 0xfee00100));
    CHECK(m.wrmsr(msrs::ia32_apic_base, 0xfee00900));
}

TEST_CASE("row 12: the whole x2APIC range of MSRs answers with a value or #GP, in every mode") {
    whole_machine<> m;
    auto const sweep = [&m](bool x2apic) {
        for (std::uint32_t index{0x800}; index != 0xc00; ++index) {
            bool const there{m.rdmsr(index)};
            if (not x2apic or index >= 0x840)
                CHECK_FALSE(there);
            if (index != 0x83f and index != 0x830) // these send
                (void)m.wrmsr(index, 0x100000001);
            REQUIRE(m.stopped() == stop_kind::none);
        }
    };
    sweep(false);
    REQUIRE(m.wrmsr(msrs::ia32_apic_base, 0xfee00d00));
    sweep(true);
    CHECK(m.rdmsr(0x802));
    CHECK(m.msr == 0);
    REQUIRE(m.wrmsr(msrs::ia32_apic_base, 0xfee00100));
    sweep(false);
}

TEST_CASE("row 13: no mode of the APIC lets the guest reach an APIC register without an exit") {
    whole_machine<> m;
    auto const none_is_direct = [&m] {
        // The fake keeps what the machine asked for: nothing else decides what exits.
        for (auto const index : m.machine->hardware().controls.direct_msrs) {
            CHECK_FALSE((index >= msrs::x2apic_first and index < 0xc00));
            CHECK(index != msrs::ia32_apic_base);
            CHECK(index != msrs::ia32_tsc_deadline);
            CHECK(index != msrs::ia32_efer);
            CHECK(index != msrs::ia32_tsc);
        }
    };
    none_is_direct();
    for (auto const base : {0xfee00d00ull, 0xfee00100ull, 0xfee00900ull, 0xfee00d00ull}) {
        REQUIRE(m.wrmsr(msrs::ia32_apic_base, base));
        none_is_direct();
        // Off and in xAPIC mode the registers are gone at once; in x2APIC mode memory is.
        CHECK(m.rdmsr(0x803) == (base == 0xfee00d00));
    }
}

TEST_CASE("the TSC starts at 0 when the machine is made and goes with the host's") {
    whole_machine<> m{{.memory = std::size_t{64} << 20, .tsc_frequency = 2'000'000'000}, 5'000'000};
    REQUIRE(m.rdmsr(msrs::ia32_tsc));
    CHECK(m.msr == 0);
    CHECK(m.guest().tsc_offset == 0 - m.host.tsc());
    m.host.advance(1000);
    REQUIRE(m.rdmsr(msrs::ia32_tsc));
    CHECK(m.msr == 2000);
    REQUIRE(m.wrmsr(msrs::ia32_tsc, 0x1'0000'0000));
    m.host.advance(500);
    REQUIRE(m.rdmsr(msrs::ia32_tsc));
    CHECK(m.msr == 0x1'0000'03e8);
    CHECK(m.host.tsc() + m.guest().tsc_offset == 0x1'0000'03e8); // what RDTSC shows without an exit
}

TEST_CASE("TSC_ADJUST holds what the guest added to its TSC, whichever of the two it wrote") {
    whole_machine<> m{{.memory = std::size_t{64} << 20, .tsc_frequency = 2'000'000'000}, 5'000'000};
    CHECK((m.cpuid(7).ebx & bits::leaf7_ebx::tsc_adjust) != 0);
    REQUIRE(m.rdmsr(msrs::ia32_tsc_adjust));
    CHECK(m.msr == 0);
    m.host.advance(1000);
    REQUIRE(m.wrmsr(msrs::ia32_tsc, 500));
    REQUIRE(m.rdmsr(msrs::ia32_tsc_adjust));
    CHECK(m.msr == 0 - 1500ull);
    m.host.advance(100);
    REQUIRE(m.wrmsr(msrs::ia32_tsc_adjust, 7));
    REQUIRE(m.rdmsr(msrs::ia32_tsc));
    CHECK(m.msr == 2207);
    CHECK(m.host.tsc() + m.guest().tsc_offset == 2207); // what RDTSC shows without an exit
    REQUIRE(m.wrmsr(msrs::ia32_tsc_adjust, ~0ull));
    REQUIRE(m.rdmsr(msrs::ia32_tsc));
    CHECK(m.msr == 2199);
}

TEST_CASE("a write to TSC_ADJUST moves the instant of a TSC deadline") {
    whole_machine<> m{{.memory = std::size_t{64} << 20, .tsc_frequency = 2'000'000'000}};
    m.apic().set_virtual_wire();
    REQUIRE(m.wrmsr(msrs::ia32_apic_base, 0xfee00d00));
    REQUIRE(m.wrmsr(0x832, 0x40041));
    REQUIRE(m.wrmsr(msrs::ia32_tsc_deadline, 4'000'000));
    REQUIRE(m.host.timer() == 2'000'000);
    REQUIRE(m.wrmsr(msrs::ia32_tsc_adjust, 2'000'000));
    CHECK(m.host.timer() == 1'000'000);
}

TEST_CASE("without its CPUID bit TSC_ADJUST does not exist") {
    whole_machine<> m;
    m.cpu().cpuid().find(7, 0)->values.ebx &= ~bits::leaf7_ebx::tsc_adjust;
    CHECK_FALSE(m.rdmsr(msrs::ia32_tsc_adjust));
    CHECK_FALSE(m.wrmsr(msrs::ia32_tsc_adjust, 1));
    CHECK(m.cpu().tsc_adjustment() == 0);
}

namespace {
struct trapped_pc : fake_pc {
    static constexpr tsc_policy tsc{tsc_policy::trapped};
};
} // namespace

TEST_CASE("a trapped TSC is computed from the machine's clock, and RDTSCP adds TSC_AUX") {
    whole_machine<trapped_pc> m{{.memory = std::size_t{64} << 20, .tsc_frequency = 2'000'000'000}, 5'000'000};
    CHECK(m.machine->hardware().controls.trap_tsc);
    auto const rdtsc = [&m](bool with_aux) {
        m.guest().set_gpr(gpr::rcx, 0x55);
        m.guest().set_gpr(gpr::rax, ~0ull);
        m.run({script::exit{exits::tsc_read{.with_aux = with_aux}}});
        return m.gpr(gpr::rdx) << 32 | m.rax();
    };
    CHECK(rdtsc(false) == 0);
    CHECK(m.gpr(gpr::rcx) == 0x55);
    m.host.advance(3'000'000'000);
    CHECK(rdtsc(false) == 6'000'000'000);
    REQUIRE(m.wrmsr(msrs::ia32_tsc_aux, 0x1234));
    REQUIRE(m.wrmsr(msrs::ia32_tsc, 77));
    CHECK(rdtsc(true) == 77);
    CHECK(m.gpr(gpr::rcx) == 0x1234);
    m.host.advance(1000);
    REQUIRE(m.rdmsr(msrs::ia32_tsc));
    CHECK(m.msr == 2077);
}

namespace {

template <tsc_policy Policy>
struct three_gigahertz : fake_pc {
    static constexpr tsc_policy tsc{Policy};
    static constexpr std::uint64_t tsc_frequency{3'000'000'000};
    struct cpuid : default_cpuid_profile {
        static constexpr auto rules = [] {
            constexpr std::uint32_t all{0xffffffff};
            return std::array{cpuid_rule{.function = 0, .set = {.eax = 0x16}},
                              cpuid_rule{.function = 0x15, .allow = {all, all, all, all}},
                              cpuid_rule{.function = 0x16, .allow = {all, all, all, all}},
                              cpuid_rule{.function = 0x40000010, .allow = {all, all, all, all}}};
        }();
    };
};
using scaled_pc = three_gigahertz<tsc_policy::scaled>;

} // namespace

TEMPLATE_TEST_CASE("a guest keeps its TSC's frequency on another host, and every clock of its agrees", "", scaled_pc,
                   three_gigahertz<tsc_policy::trapped>) {
    for (auto const host : {2'000'000'000ull, 3'000'000'000ull, 4'500'000'000ull}) {
        whole_machine<TestType> m{{.memory = std::size_t{64} << 20, .tsc_frequency = host}, 5'000'000};
        m.apic().set_virtual_wire();
        CHECK(m.machine->tsc_frequency() == 3'000'000'000);
        m.host.advance(2'000'000);
        REQUIRE(m.rdmsr(msrs::ia32_tsc));
        CHECK(m.msr <= 6'000'000);
        CHECK(m.msr >= 6'000'000 - 1);
        REQUIRE(m.wrmsr(msrs::ia32_tsc, 1'000'000));
        CHECK(m.machine->cpu(0).guest_tsc() == 1'000'000);
        CHECK(m.wrmsr(msrs::ia32_apic_base, 0xfee00d00));
        REQUIRE(m.wrmsr(0x832, 0x40041));
        REQUIRE(m.wrmsr(msrs::ia32_tsc_deadline, 4'000'000)); // a millisecond of the guest's
        REQUIRE(m.host.timer());
        CHECK(*m.host.timer() >= m.host.now() + 1'000'000);
        CHECK(*m.host.timer() <= m.host.now() + 1'000'001);
        auto const timing = m.cpuid(0x40000010);
        CHECK(timing.eax == 3'000'000);
        CHECK(timing.ebx == lapic::timer_frequency / 1000);
        CHECK(m.cpuid(0x16).eax == 3000);
        CHECK(m.cpuid(0x16).ebx == 3000);
        CHECK(m.cpuid(0x15).eax + m.cpuid(0x15).ebx + m.cpuid(0x15).ecx == 0);
    }
}

TEST_CASE("the processor gets the ratio of the frequencies, and none under the other policies") {
    whole_machine<scaled_pc> scaled{{.memory = std::size_t{64} << 20, .tsc_frequency = 2'000'000'000}};
    CHECK(scaled.machine->hardware().controls.tsc_ratio == 3ull << 47);
    CHECK_FALSE(scaled.machine->hardware().controls.trap_tsc);
    whole_machine<trapped_pc> trapped;
    CHECK(trapped.machine->hardware().controls.tsc_ratio == 0);
    whole_machine<> plain;
    CHECK(plain.machine->hardware().controls.tsc_ratio == 0);
    CHECK(plain.machine->tsc_frequency() == plain.host.tsc_frequency());
    CHECK(plain.cpuid(0x40000010).eax == plain.host.tsc_frequency() / 1000);
}

namespace {

struct half_processor : backends::fake::processor {
    half_processor() { report.tsc_scaling = false; }
};
struct half_fake : fake {
    using processor = half_processor;
    template <typename Host, typename Handler>
    [[nodiscard]] static auto enter(Host& h, processor& on, vcpu& cpu, Handler& handler) -> verdict {
        return fake::enter(h, on, cpu, handler);
    }
};
struct needs_scaling : scaled_pc {
    using backend = half_fake;
};
struct needs_none : fake_pc {
    using backend = half_fake;
};

} // namespace

TEST_CASE("a machine that scales is refused with the feature's name where the processor has none, or too small a one") {
    hosted::serial_host host{{.memory = std::size_t{64} << 20}};
    vmm<needs_scaling, hosted::serial_host> refused{host};
    CHECK(refused.examine().missing == "TSC scaling");
    CHECK(refused.examine().verdict == status::no_device);
    CHECK(refused.enable() == status::no_device);
    vmm<needs_none, hosted::serial_host> fine{host};
    CHECK(fine.examine().verdict == status::ok);
    CHECK(fine.enable() == status::ok);
    fine.disable();

    hosted::serial_host slow{{.memory = std::size_t{64} << 20, .tsc_frequency = 40'000}};
    vmm<scaled_pc, hosted::serial_host> monitor{slow};
    REQUIRE(monitor.enable() == status::ok);
    vm<scaled_pc, hosted::serial_host> machine;
    CHECK(monitor.create(machine) == status::out_of_range);
    monitor.disable();
    CHECK(slow.bytes_in_use() == 0);
}

TEST_CASE("each processor keeps the MTRRs it was given, and RESET puts all registers back") {
    whole_machine<> m;
    CHECK(m.wrmsr(msrs::ia32_mtrr_def_type, 0x806));
    CHECK_FALSE(m.wrmsr(msrs::ia32_mtrr_def_type, 0x807));
    CHECK(m.wrmsr(msrs::ia32_lstar, 0x1000));
    CHECK(m.wrmsr(msrs::ia32_tsc_aux, 9));
    m.guest().inject(external(0x99));
    m.guest().set_nmi_blocked(true);
    m.guest().set_interrupt_shadow(true);
    m.cpu().events().raise_nmi();
    m.cpu().reset();
    CHECK_FALSE(m.guest().injection_pending());
    CHECK_FALSE(m.guest().nmi_blocked());
    CHECK_FALSE(m.guest().interrupt_shadow());
    CHECK(m.cpu().events().empty());
    REQUIRE(m.rdmsr(msrs::ia32_mtrr_def_type));
    CHECK(m.msr == 0xc06);
    REQUIRE(m.rdmsr(msrs::ia32_lstar));
    CHECK(m.msr == 0);
    REQUIRE(m.rdmsr(msrs::ia32_tsc_aux));
    CHECK(m.msr == 0);
    CHECK(m.gpr(gpr::rdx) == 0);
    CHECK(m.guest().cr0() == 0x60000010);
}
