// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

#include <cstdint>

using namespace hv;
using namespace hv::test;

namespace {

constexpr std::uint32_t spec_ctrl{0x48}, pred_cmd{0x49}, arch_capabilities{0x10a}, flush_cmd{0x10b};
constexpr std::uint32_t ibrs_ibpb{1u << 26}, stibp{1u << 27}, l1d_flush{1u << 28}, capabilities{1u << 29},
    ssbd{1u << 31};

struct protecting : fake_pc {
    using cpuid = speculation_cpuid_profile<default_cpuid_profile>;
};

/// A machine on a host whose leaves 7 and 8000_0008h say this.
struct seat : whole_machine<protecting> {
    seat(std::uint32_t leaf7_edx, std::uint32_t leaf8_ebx) {
        machine->destroy();
        host.set_cpuid(7, 0, {.edx = leaf7_edx});
        host.set_cpuid(0x8000'0008, 0, {.eax = 0x3030, .ebx = leaf8_ebx});
        host.set_msr(arch_capabilities, ~0ull);
        make();
    }
};

} // namespace

TEST_CASE("a guest has none of the MSRs of speculation unless its machine's profile shows them") {
    whole_machine<> m;
    for (auto const index : {spec_ctrl, pred_cmd, arch_capabilities, flush_cmd}) {
        CHECK_FALSE(m.rdmsr(index));
        CHECK_FALSE(m.wrmsr(index, 0));
        CHECK_FALSE(m.wrmsr(index, 1));
    }
    CHECK((m.cpuid(7).edx & (1u << 10 | ibrs_ibpb | stibp | l1d_flush | capabilities | ssbd)) == 0);
    CHECK(m.cpuid(0x8000'0008).ebx == 0);
}

TEST_CASE("IA32_SPEC_CTRL takes the bits that the guest's CPUID has, whichever vendor says so") {
    struct {
        std::uint32_t edx, ebx;
        std::uint64_t bits;
    } const cases[]{{ibrs_ibpb, 0, 1},  {ibrs_ibpb | stibp | ssbd, 0, 7},
                    {ssbd, 0, 4},       {0, 1u << 14, 1},
                    {0, 1u << 15, 2},   {0, 1u << 24, 4},
                    {0, 1u << 28, 0x80}};
    for (auto const& c : cases) {
        seat m{c.edx, c.ebx};
        REQUIRE(m.rdmsr(spec_ctrl));
        CHECK(m.msr == 0);
        for (unsigned bit{0}; bit != 64; ++bit)
            CHECK(m.wrmsr(spec_ctrl, std::uint64_t{1} << bit) == ((c.bits >> bit & 1) != 0));
        REQUIRE(m.wrmsr(spec_ctrl, c.bits));
        REQUIRE(m.rdmsr(spec_ctrl));
        CHECK(m.msr == c.bits);
        CHECK(m.guest().speculation().value == c.bits);
        m.cpu().reset();
        CHECK(m.guest().speculation().value == 0);
    }
    seat without{l1d_flush, 1u << 12};
    CHECK_FALSE(without.rdmsr(spec_ctrl));
    CHECK_FALSE(without.wrmsr(spec_ctrl, 0));
}

TEST_CASE("the commands act when bit 0 is written, and cannot be read") {
    for (auto const& [edx, ebx] : {std::pair{ibrs_ibpb, 0u}, std::pair{0u, 1u << 12}}) {
        seat m{edx | l1d_flush, ebx};
        for (auto const index : {pred_cmd, flush_cmd}) {
            CHECK_FALSE(m.rdmsr(index));
            CHECK(m.wrmsr(index, 0));
            CHECK_FALSE(m.wrmsr(index, 2));
            CHECK_FALSE(m.wrmsr(index, 3));
        }
        CHECK((m.guest().speculation().barriers | m.guest().speculation().flushes) == 0);
        CHECK(m.wrmsr(pred_cmd, 1));
        CHECK(m.guest().speculation().barriers == 1);
        CHECK(m.wrmsr(flush_cmd, 1));
        CHECK(m.guest().speculation().flushes == 1);
    }
    seat without{stibp, 0};
    CHECK_FALSE(without.wrmsr(pred_cmd, 1));
    CHECK_FALSE(without.wrmsr(flush_cmd, 1));
}

TEST_CASE("IA32_ARCH_CAPABILITIES shows what holds in a guest too, and is not written") {
    seat m{capabilities, 0};
    REQUIRE(m.rdmsr(arch_capabilities));
    CHECK((m.msr & 1) != 0);       // RDCL_NO
    CHECK((m.msr & 1u << 3) == 0); // SKIP_L1DFL_VMENTRY: it is no hypervisor
    // TSX_CTRL, MCU_OPT_CTRL, package and energy controls, DOITM, FB_CLEAR_CTRL, xAPIC disable, overclocking, GDS_CTRL
    for (auto const control : {7, 9, 10, 11, 12, 18, 21, 23, 25})
        CHECK((m.msr >> control & 1) == 0);
    CHECK(m.msr >> 32 == 0);
    CHECK_FALSE(m.wrmsr(arch_capabilities, m.msr));
    seat without{ibrs_ibpb, 0};
    CHECK_FALSE(without.rdmsr(arch_capabilities));
}
