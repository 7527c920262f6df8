// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "whole_machine.hpp"

#include <hv/vcpu_state.hpp>

using namespace hv;
using namespace hv::test;
using enum x86::segment_name;
using enum register_name;

namespace {

constexpr auto refused = status::invalid_argument;

struct xsave_pc : fake_pc {
    static constexpr bool hide_xsave{false};
};

} // namespace

TEST_CASE("a register takes every value that its processor has, and no other") {
    struct row {
        register_name which;
        std::uint64_t value;
        status answer;
    };
    whole_machine<> m;
    auto const read = [&m](register_name which) -> std::uint64_t {
        auto& g = m.guest();
        switch (which) {
        case rip:
            return g.rip();
        case rflags:
            return g.rflags();
        case cr0:
            return g.cr0();
        case cr2:
            return g.cr2();
        case cr3:
            return g.cr3();
        case cr4:
            return g.cr4();
        case cr8:
            return g.task_priority();
        case efer:
            return g.efer();
        case xcr0:
            return g.xcr0();
        default:
            return g.debug_register(which < dr6 ? static_cast<unsigned>(which) - static_cast<unsigned>(dr0)
                                                : static_cast<unsigned>(which) - static_cast<unsigned>(dr6) + 6);
        }
    };
    for (auto const& r : {row{rip, 0x7fff'ffff'ffff, status::ok},
                          {rip, 0xffff'8000'0000'0000, status::ok},
                          {rip, 0x8000'0000'0000, refused},
                          {rflags, 0x3f'7fd7, status::ok},
                          {rflags, 0x8002, refused},
                          {rflags, 0x40'0002, refused},
                          {rflags, 0x0a, refused},
                          {cr0, 0x8005'003b, status::ok},
                          {cr0, 0x6000'0010, status::ok},
                          {cr0, 0x1'0000'0011, refused},
                          {cr0, 0x8000'0010, refused},
                          {cr0, 0x2000'0011, refused},
                          {cr2, ~0ull, status::ok},
                          {cr3, (1ull << 48) - 1, status::ok},
                          {cr3, 1ull << 48, refused},
                          {cr4, 0x6f0, status::ok},
                          {cr4, 0x2000, refused},
                          {cr4, 0x8000'0000, refused},
                          {cr4, 1ull << 40, refused},
                          {cr8, 15, status::ok},
                          {cr8, 16, refused},
                          {dr0, ~0ull, status::ok},
                          {dr3, 0x1234, status::ok},
                          {dr6, 0xffff'4ff0, status::ok},
                          {dr6, 0x1'ffff'0ff0, refused},
                          {dr7, 0x401, status::ok},
                          {dr7, 1ull << 63, refused},
                          {efer, 0x901, status::ok},
                          {efer, 0x1000, refused},
                          {efer, 2, refused},
                          {xcr0, 3, refused}}) { // XSAVE is hidden
        CAPTURE(static_cast<int>(r.which), r.value);
        auto const before = read(r.which);
        CHECK(set_register(m.cpu(), r.which, r.value) == r.answer);
        CHECK(read(r.which) == (r.answer == status::ok ? r.value : before));
    }
    whole_machine<xsave_pc> x;
    CHECK(set_register(x.cpu(), cr4, x86::cr4::osxsave) == status::ok);
    CHECK(set_register(m.cpu(), cr4, x86::cr4::osxsave) == refused);
}

TEST_CASE("registers that do not go together yet are accepted in any order") {
    whole_machine<> m;
    CHECK(set_register(m.cpu(), cr0, x86::cr0::pg | x86::cr0::pe | x86::cr0::et) == status::ok);
    CHECK(set_register(m.cpu(), efer, x86::efer::lme | x86::efer::lma) == status::ok);
    CHECK(set_register(m.cpu(), cr4, x86::cr4::pae) == status::ok);
    CHECK(m.guest().efer() == (x86::efer::lme | x86::efer::lma));
}

TEST_CASE("a segment register takes what VM entry takes in some mode") {
    struct row {
        x86::segment_name which;
        x86::segment value;
        status answer;
    };
    whole_machine<> m;
    for (auto const& r :
         {row{cs, {.base = 0xffff'0000, .limit = 0xffff, .access = 0x9b, .selector = 0xf000}, status::ok},
          {cs, {.limit = 0xffff'ffff, .access = 0xa09b}, status::ok},
          {cs, {.limit = 0xffff, .access = 0x93}, status::ok}, // of real mode
          {cs, {.limit = 0xffff, .access = 0xf3}, status::ok}, // of virtual-8086 mode
          {cs, {.access = 0x10000}, refused},
          {cs, {.limit = 0xffff, .access = 0x97}, refused},
          {ss, {.access = 0x10000}, status::ok},
          {ss, {.limit = 0xffff'ffff, .access = 0xc097}, status::ok},
          {ss, {.limit = 0xffff, .access = 0x9b}, refused},
          {ds, {.limit = 0xffff, .access = 0x91}, status::ok},
          {ds, {.limit = 0xffff, .access = 0x99}, refused},
          {ds, {.limit = 0xffff, .access = 0x83}, refused},
          {es, {.limit = 0xffff, .access = 0x13}, refused},
          {es, {.limit = 0xffff, .access = 0x293}, refused},
          {es, {.limit = 0xffff, .access = 0x20093}, refused},
          {es, {.limit = 0x10'0000, .access = 0x93}, refused},
          {es, {.limit = 0xfff'fffe, .access = 0xc093}, refused},
          {fs, {.base = 1ull << 32, .limit = 0xffff, .access = 0x93}, status::ok},
          {gs, {.base = 0xffff'8000'0000'0000, .access = 0x10000}, status::ok},
          {gs, {.base = 1ull << 47, .access = 0x10000}, refused},
          {ldtr, {.access = 0x10000}, status::ok},
          {ldtr, {.limit = 0xffff, .access = 0x82}, status::ok},
          {ldtr, {.limit = 0xffff, .access = 0x92}, refused},
          {ldtr, {.limit = 0xffff, .access = 0x82, .selector = 4}, refused},
          {tr, {.limit = 0x67, .access = 0x8b}, status::ok},
          {tr, {.limit = 0x67, .access = 0x83}, status::ok},
          {tr, {.limit = 0x67, .access = 0x89}, refused},
          {tr, {.limit = 0x67, .access = 0x9b}, refused},
          {tr, {.limit = 0x67, .access = 0x8b, .selector = 0xc}, refused}}) {
        CAPTURE(static_cast<int>(r.which), r.value.access);
        auto const before = m.guest().segment(r.which);
        CHECK(set_segment(m.cpu(), r.which, r.value) == r.answer);
        CHECK(m.guest().segment(r.which) == (r.answer == status::ok ? r.value : before));
    }
    CHECK(set_segment(m.cpu(), ds, {.limit = 0xffff, .access = 0x92}) == status::ok); // counts as accessed
    CHECK(m.guest().segment(ds).access == 0x93);
}

TEST_CASE("table registers have canonical bases, and MSRs the values that WRMSR takes") {
    whole_machine<> m;
    using enum descriptor_table_name;
    CHECK(set_descriptor_table(m.cpu(), gdtr, {.base = 0x1000, .limit = 0x7f}) == status::ok);
    CHECK(m.guest().gdtr() == x86::descriptor_table{.base = 0x1000, .limit = 0x7f});
    CHECK(set_descriptor_table(m.cpu(), idtr, {.base = 0x2000, .limit = 0xfff}) == status::ok);
    CHECK(m.guest().idtr().base == 0x2000);
    CHECK(set_descriptor_table(m.cpu(), gdtr, {.base = 1ull << 47}) == refused);
    CHECK(set_descriptor_table(m.cpu(), idtr, {.base = 1ull << 63}) == refused);
    CHECK(m.guest().idtr().base == 0x2000);
    CHECK(set_msr(m.cpu(), x86::msr::ia32_lstar, 0x1234) == status::ok);
    CHECK(m.guest().msr(x86::msr::ia32_lstar).value == 0x1234);
    CHECK(set_msr(m.cpu(), x86::msr::ia32_lstar, 1ull << 47) == refused);
    CHECK(set_msr(m.cpu(), x86::msr::ia32_pat, 2) == refused);
    CHECK(set_msr(m.cpu(), 0x1fff, 0) == refused);
}
