// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

using namespace hv;
using namespace hv::test;
using x86::gpr;
namespace bits = hv::x86::cpuid_bits;

namespace {

constexpr std::uint32_t all{0xffffffff};

struct with_avx : fake_pc {
    static constexpr bool hide_xsave{false};
};
struct with_sse : with_avx {
    static constexpr std::uint64_t xcr0_allowed{3};
};

/// A machine on a host with x87, SSE, AVX, AVX-512 and PKRU, all instructions of the family, and OSXSAVE as given.
template <typename Machine>
struct seat : whole_machine<Machine> {
    explicit seat(bool host_uses_xsave = true) {
        this->machine->destroy();
        if (not host_uses_xsave)
            this->host.set_cpuid(1, 0, {all, all, all & ~bits::leaf1_ecx::osxsave, all});
        this->host.set_cpuid(0xd, 0, {.eax = 0x2e7, .ebx = 2696, .ecx = 2696});
        this->host.set_cpuid(0xd, 1, {.eax = 0xf, .ebx = 2696, .ecx = 0x1900});
        this->host.set_cpuid(0xd, 2, {.eax = 256, .ebx = 576});
        this->host.set_cpuid(0xd, 5, {.eax = 64, .ebx = 1088});
        this->make();
    }
    [[nodiscard]] auto set_osxsave() -> bool { return write_control_register(this->cpu(), 4, x86::cr4::osxsave); }
    [[nodiscard]] auto xsetbv(std::uint32_t index, std::uint64_t value) -> bool {
        this->run({script::exit{exits::xsetbv{.index = index, .value = value}}});
        return not this->took_gp();
    }
};

} // namespace

TEST_CASE("a machine with XSAVE shows the states it allows, and what needs them") {
    seat<with_avx> m;
    auto const one = m.cpuid(1).ecx;
    constexpr auto wanted =
        bits::leaf1_ecx::xsave | bits::leaf1_ecx::avx | bits::leaf1_ecx::f16c | bits::leaf1_ecx::fma;
    CHECK((one & wanted) == wanted);
    CHECK((one & (bits::leaf1_ecx::vmx | bits::leaf1_ecx::osxsave)) == 0);
    constexpr auto structured = bits::leaf7_ebx::avx2 | bits::leaf7_ebx::bmi1 | bits::leaf7_ebx::bmi2;
    CHECK((m.cpuid(7).ebx & structured) == structured);
    CHECK((m.cpuid(7).ebx & 0xdc230000) == 0); // AVX-512
    CHECK(m.cpuid(0xd) == x86::cpuid_result{.eax = 7, .ebx = 576, .ecx = 832});
    CHECK(m.cpuid(0xd, 1) == x86::cpuid_result{.eax = 0xf, .ebx = 576});
    CHECK(m.cpuid(0xd, 2) == x86::cpuid_result{.eax = 256, .ebx = 576});
    for (std::uint32_t i{3}; i != 70; ++i)
        CHECK(m.cpuid(0xd, i) == x86::cpuid_result{});
}

TEST_CASE("a machine with SSE alone shows no AVX") {
    seat<with_sse> m;
    CHECK((m.cpuid(1).ecx & bits::leaf1_ecx::xsave) != 0);
    CHECK((m.cpuid(1).ecx & (bits::leaf1_ecx::avx | bits::leaf1_ecx::f16c | bits::leaf1_ecx::fma)) == 0);
    CHECK((m.cpuid(7).ebx & bits::leaf7_ebx::avx2) == 0);
    CHECK(m.cpuid(0xd) == x86::cpuid_result{.eax = 3, .ebx = 576, .ecx = 576});
    CHECK(m.cpuid(0xd, 2) == x86::cpuid_result{});
}

TEST_CASE("CPUID follows CR4.OSXSAVE, and leaf Dh the guest's XCR0") {
    seat<with_avx> m;
    REQUIRE(m.set_osxsave());
    CHECK((m.cpuid(1).ecx & bits::leaf1_ecx::osxsave) != 0);
    CHECK(m.guest().xcr0() == 1);
    REQUIRE(m.xsetbv(0, 3));
    CHECK(m.cpuid(0xd).ebx == 576);
    REQUIRE(m.xsetbv(0, 7));
    CHECK(m.cpuid(0xd).ebx == 832);
    m.cpu().reset();
    CHECK(m.guest().xcr0() == 1);
}

TEST_CASE("XSETBV takes exactly the values that the manual and the machine allow") {
    auto const try_all = [](auto& m, std::initializer_list<std::uint64_t> good) {
        REQUIRE(m.set_osxsave());
        for (std::uint64_t value{0}; value != 0x800; ++value) {
            m.guest().set_xcr0(1);
            bool const wanted{std::find(good.begin(), good.end(), value) != good.end()};
            CHECK(m.xsetbv(0, value) == wanted);
            CHECK(m.guest().xcr0() == (wanted ? value : 1));
        }
        for (unsigned bit{3}; bit != 64; ++bit)
            CHECK_FALSE(m.xsetbv(0, 7 | std::uint64_t{1} << bit));
        for (auto const index : {1u, 2u, all})
            CHECK_FALSE(m.xsetbv(index, 1));
    };
    seat<with_avx> avx;
    try_all(avx, {1, 3, 7});
    seat<with_sse> sse;
    try_all(sse, {1, 3});
}

TEST_CASE("XSETBV outside ring 0 raises #GP, whoever checks it") {
    seat<with_avx> m;
    REQUIRE(m.set_osxsave());
    m.set_cpl(3);
    CHECK_FALSE(m.xsetbv(0, 3));
    CHECK(m.guest().xcr0() == 1);
    m.set_cpl(0);
    CHECK(m.xsetbv(0, 3));
}

TEST_CASE("XSETBV is undefined until the system sets CR4.OSXSAVE") {
    seat<with_avx> m;
    m.run({script::exit{exits::xsetbv{.index = 0, .value = 3}}});
    CHECK(m.delivered() == std::vector{event::make(x86::exception::invalid_opcode)});
    CHECK(m.guest().xcr0() == 1);
}

TEST_CASE("where the host does not use XSAVE, neither does a guest") {
    seat<with_avx> m{false};
    CHECK((m.cpuid(1).ecx & (bits::leaf1_ecx::xsave | bits::leaf1_ecx::avx)) == 0);
    CHECK(m.cpuid(0xd) == x86::cpuid_result{});
    CHECK_FALSE(m.set_osxsave());
}

namespace {
struct careless_profile {
    static constexpr std::array rules{cpuid_rule{.function = 0, .allow = {all, all, all, all}},
                                      cpuid_rule{.function = 1, .allow = {all, all, all, all}}};
};
struct careless : fake_pc {
    using cpuid = careless_profile;
};
} // namespace

TEST_CASE("a machine that hides XSAVE refuses CR4.OSXSAVE whatever its profile passes") {
    seat<careless> m;
    CHECK_FALSE(m.set_osxsave());
}

TEST_CASE("leaf Dh comes behind what a profile has below it and before what it has above") {
    using made = xsave_cpuid_profile<careless_profile, 7>;
    CHECK(made::rules.size() == 5);
    CHECK(made::rules[2].function == 0xd);
    CHECK(made::rules[4].index == 2);
    constexpr auto const& rules = xsave_cpuid_profile<default_cpuid_profile, 7>::rules;
    for (std::size_t i{1}; i != rules.size(); ++i)
        CHECK((rules[i - 1].function < rules[i].function or rules[i - 1].index < rules[i].index));
}

TEST_CASE("XSAVEC and XSAVES come with the size of the compacted area, and an IA32_XSS that stays 0") {
    seat<with_avx> m;
    REQUIRE(m.set_osxsave());
    CHECK(m.machine->hardware().controls.shows_xsaves);
    for (auto const& [xcr0, size] : {std::pair{1u, 576u}, {3u, 576u}, {7u, 832u}}) {
        REQUIRE(m.xsetbv(0, xcr0));
        CHECK(m.cpuid(0xd, 1).ebx == size);
    }
    REQUIRE(m.rdmsr(x86::msr::ia32_xss));
    CHECK(m.msr == 0);
    CHECK(m.wrmsr(x86::msr::ia32_xss, 0));
    for (auto const value : {1ull, 0x100ull, 0x800ull, 1ull << 63})
        CHECK_FALSE(m.wrmsr(x86::msr::ia32_xss, value));
    seat<fake_pc> hidden;
    CHECK_FALSE(hidden.machine->hardware().controls.shows_xsaves);
    CHECK_FALSE(hidden.rdmsr(x86::msr::ia32_xss));
    CHECK_FALSE(hidden.wrmsr(x86::msr::ia32_xss, 0));
}

TEST_CASE("a state that is aligned in the compacted area counts its padding") {
    cpuid_table leaves;
    std::array const entries{
        cpuid_entry{.function = 0xd, .index = 2, .match_index = true, .values = {.eax = 40, .ebx = 576}},
        cpuid_entry{.function = 0xd, .index = 3, .match_index = true, .values = {.eax = 64, .ebx = 640, .ecx = 2}},
        cpuid_entry{.function = 0xd, .index = 4, .match_index = true, .values = {.eax = 8, .ebx = 704, .ecx = 0}}};
    REQUIRE(leaves.assign(entries) == status::ok);
    CHECK(compacted_area_size(leaves, 3) == 576);
    CHECK(compacted_area_size(leaves, 7) == 616);
    CHECK(compacted_area_size(leaves, 0xf) == 704);
    CHECK(compacted_area_size(leaves, 0x1f) == 712);
    CHECK(compacted_area_size(leaves, 0x1b) == 576 + 64 + 8);
}

TEST_CASE("where the processor cannot give guests XSAVES, they have the rest of the family") {
    hosted::serial_host host{{.memory = std::size_t{64} << 20}};
    offer_everything(host);
    host.set_cpuid(0xd, 1, {.eax = 0xf});
    backends::fake::processor processor;
    processor.report.xsaves = false;
    auto const machine = std::make_unique<vm<with_avx, hosted::serial_host>>();
    REQUIRE(machine->create(host, &processor) == status::ok);
    CHECK(machine->cpuid().find(0xd, 1)->values.eax == 7);
    CHECK_FALSE(machine->hardware().controls.shows_xsaves);
    machine->destroy();
}
