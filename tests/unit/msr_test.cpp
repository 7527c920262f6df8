// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/msr.hpp>

using store = hv::msr_store<hv::default_msr_policy>;
namespace msr = hv::x86::msr;

TEST_CASE("what no rule names does not exist") {
    store s;
    std::uint64_t value{0x1234};
    unsigned found{0};
    for (std::uint32_t const base : {0u, 0xc0000000u, 0xc0010000u})
        for (std::uint32_t i{0}; i != 0x2000; ++i)
            found += s.read(base + i, value);
    CHECK(found == 36);
    CHECK_FALSE(s.write(0x3a, 0));
    CHECK_FALSE(s.write(msr::amd_vm_hsave_pa, 0));
}

TEST_CASE("the fixed-range MTRRs take memory types only") {
    store s;
    std::uint64_t value{};
    CHECK(s.write(msr::ia32_mtrr_fix64k_00000, 0x0001040506060606));
    CHECK(s.read(msr::ia32_mtrr_fix64k_00000, value));
    CHECK(value == 0x0001040506060606);
    for (unsigned const type : {2u, 3u, 7u, 0xffu})
        for (unsigned byte{0}; byte != 8; ++byte)
            CHECK_FALSE(s.write(msr::ia32_mtrr_fix4k_f8000, std::uint64_t{type} << (8 * byte)));
}

TEST_CASE("the variable-range MTRRs refuse reserved bits in base and mask") {
    store s;
    for (std::uint32_t i{0}; i != 16; i += 2) {
        CHECK(s.write(msr::ia32_mtrr_physbase0 + i, 0xc0000006));
        CHECK_FALSE(s.write(msr::ia32_mtrr_physbase0 + i, 0xc0000106));
        CHECK_FALSE(s.write(msr::ia32_mtrr_physbase0 + i, 0xc0000002));
        CHECK(s.write(msr::ia32_mtrr_physbase0 + i + 1, 0xfff0000800));
        CHECK_FALSE(s.write(msr::ia32_mtrr_physbase0 + i + 1, 0xfff0000801));
        CHECK_FALSE(s.write(msr::ia32_mtrr_physbase0 + i, 1ull << 40));
    }
    CHECK_FALSE(s.write(msr::ia32_mtrr_def_type, 0x1006));
    CHECK_FALSE(s.write(msr::ia32_mtrr_def_type, 0xc02));
    CHECK(s.write(msr::ia32_mtrr_def_type, 0xc00));
}

TEST_CASE("each way of writing does what it says") {
    store s;
    std::uint64_t value{};
    CHECK(s.write(msr::ia32_mtrrcap, 0x508)); // equal
    CHECK_FALSE(s.write(msr::ia32_mtrrcap, 0x509));
    CHECK(s.write(msr::amd_hwcr, 0)); // ignored
    CHECK(s.read(msr::amd_hwcr, value));
    CHECK(value == 1u << 24);
    CHECK_FALSE(s.write(msr::ia32_mcg_cap, 0)); // fault
}

TEST_CASE("reset brings back the values of power-on") {
    store s;
    CHECK(s.write(msr::ia32_mtrr_def_type, 0));
    s.reset();
    std::uint64_t value{};
    CHECK(s.read(msr::ia32_mtrr_def_type, value));
    CHECK(value == 0xc06);
}
