// SPDX-License-Identifier: BSD-2-Clause
// What the host differential cannot show: devices, modes other than 64-bit, the stack, system instructions.
#include "emulate/test_cpu.hpp"

#include <catch2/catch.hpp>

namespace {

using hv::code_size;
using hv::outcome_kind;
using hv::test::cpu;
using hv::test::data_page;
using hv::test::device_access;
using hv::test::device_page;
using hv::test::make_cpu;
using hv::test::run;
using hv::x86::exception;
using hv::x86::gpr;
using hv::x86::segment_name;
using accesses = std::vector<device_access>;

auto is_fault(hv::outcome const& o, exception vector, std::uint32_t error = 0) -> bool {
    auto const expected = hv::x86::has_error_code(vector) ? hv::event::make(vector, error) : hv::event::make(vector);
    return o.kind == outcome_kind::fault and o.exception == expected;
}

constexpr code_size modes[]{code_size::bits_16, code_size::bits_32, code_size::bits_64};

} // namespace

TEST_CASE("loads and stores of every size reach a device once") {
    struct row {
        std::initializer_list<unsigned> code;
        accesses log;
        std::uint64_t rax;
    };
    constexpr std::uint64_t d{device_page};
    constexpr std::uint64_t rax{0xaabbccddeeff9911};
    row const rows[]{
        {{0x8a, 0x03}, {{'r', d, 1, 0x88}}, 0xaabbccddeeff9988},
        {{0x66, 0x8b, 0x03}, {{'r', d, 2, 0x7788}}, 0xaabbccddeeff7788},
        {{0x8b, 0x03}, {{'r', d, 4, 0x55667788}}, 0x55667788},
        {{0x48, 0x8b, 0x03}, {{'r', d, 8, 0x1122334455667788}}, 0x1122334455667788},
        {{0x8a, 0x23}, {{'r', d, 1, 0x88}}, 0xaabbccddeeff8811}, // AH
        {{0x0f, 0xb6, 0x03}, {{'r', d, 1, 0x88}}, 0x88},
        {{0x0f, 0xb7, 0x03}, {{'r', d, 2, 0x7788}}, 0x7788},
        {{0x48, 0x0f, 0xbe, 0x03}, {{'r', d, 1, 0x88}}, 0xffffffffffffff88},
        {{0x48, 0x63, 0x03}, {{'r', d, 4, 0x55667788}}, 0x55667788},
        {{0x88, 0x03}, {{'w', d, 1, 0x11}}, rax},
        {{0x66, 0x89, 0x03}, {{'w', d, 2, 0x9911}}, rax},
        {{0x89, 0x03}, {{'w', d, 4, 0xeeff9911}}, rax},
        {{0x48, 0x89, 0x03}, {{'w', d, 8, rax}}, rax},
        {{0x88, 0x23}, {{'w', d, 1, 0x99}}, rax}, // AH
        {{0xc6, 0x03, 0x5a}, {{'w', d, 1, 0x5a}}, rax},
        {{0x66, 0xc7, 0x03, 0x34, 0x12}, {{'w', d, 2, 0x1234}}, rax},
        {{0xc7, 0x03, 0x78, 0x56, 0x34, 0x92}, {{'w', d, 4, 0x92345678}}, rax},
        {{0x48, 0xc7, 0x03, 0x78, 0x56, 0x34, 0x92}, {{'w', d, 8, 0xffffffff92345678}}, rax},
        {{0x67, 0xa1, 0x00, 0x00, 0xe0, 0xfe}, {{'r', d, 4, 0x55667788}}, 0x55667788},
        {{0x67, 0xa0, 0x00, 0x00, 0xe0, 0xfe}, {{'r', d, 1, 0x88}}, 0xaabbccddeeff9988},
        {{0x67, 0xa2, 0x00, 0x00, 0xe0, 0xfe}, {{'w', d, 1, 0x11}}, rax},
        {{0x67, 0xa3, 0x00, 0x00, 0xe0, 0xfe}, {{'w', d, 4, 0xeeff9911}}, rax},
        {{0xa1, 0x00, 0x00, 0xe0, 0xfe, 0, 0, 0, 0}, {{'r', d, 4, 0x55667788}}, 0x55667788},
        {{0x09, 0x03}, {{'r', d, 4, 0x55667788}, {'w', d, 4, 0xffffff99}}, rax},
        {{0x85, 0x03}, {{'r', d, 4, 0x55667788}}, rax},
        {{0x3b, 0x03}, {{'r', d, 4, 0x55667788}}, rax},
        {{0xf6, 0x03, 0x80}, {{'r', d, 1, 0x88}}, rax},
        {{0x87, 0x03}, {{'r', d, 4, 0x55667788}, {'w', d, 4, 0xeeff9911}}, 0x55667788},
        {{0xff, 0x03}, {{'r', d, 4, 0x55667788}, {'w', d, 4, 0x55667789}}, rax},
        {{0xf0, 0x0f, 0xba, 0x2b, 0x00}, {{'r', d, 4, 0x55667788}, {'w', d, 4, 0x55667789}}, rax},
        {{0x0f, 0xba, 0x23, 0x03}, {{'r', d, 4, 0x55667788}}, rax},
        {{0x0f, 0xae, 0x3b}, {}, rax}, // CLFLUSH
        {{0x0f, 0x18, 0x0b}, {}, rax}, // PREFETCHT0
        {{0x0f, 0xae, 0xf8}, {}, rax}, // SFENCE
    };
    for (auto const& row : rows) {
        auto c = make_cpu(code_size::bits_64);
        c[gpr::rbx] = d;
        c[gpr::rax] = rax;
        auto const o = run(c, row.code);
        CAPTURE(*row.code.begin(), *(row.code.begin() + 1));
        CHECK(o.kind == outcome_kind::done);
        CHECK(o.length == row.code.size());
        CHECK(c.rip() == hv::test::code_page + row.code.size());
        CHECK(c.log == row.log);
        CHECK(c[gpr::rax] == row.rax);
    }
}

TEST_CASE("a device access that is not naturally aligned is split into accesses that are") {
    auto c = make_cpu(code_size::bits_64);
    c[gpr::rbx] = device_page + 3;
    c[gpr::rax] = 0x8877665544332211;
    REQUIRE(run(c, {0x48, 0x89, 0x03}).kind == outcome_kind::done);
    CHECK(c.log == accesses{{'w', device_page + 3, 1, 0x11},
                            {'w', device_page + 4, 4, 0x55443322},
                            {'w', device_page + 8, 2, 0x7766},
                            {'w', device_page + 10, 1, 0x88}});
}

TEST_CASE("an access may straddle memory and a device in both orders") {
    for (bool const device_first : {false, true}) {
        auto c = make_cpu(code_size::bits_64);
        auto const boundary = device_first ? data_page : data_page + 0x2000;
        c[gpr::rbx] = boundary - 3;
        c[gpr::rax] = 0x8877665544332211;
        REQUIRE(run(c, {0x48, 0x89, 0x03}).kind == outcome_kind::done);
        if (device_first) {
            CHECK(c.log == accesses{{'w', boundary - 3, 1, 0x11}, {'w', boundary - 2, 2, 0x3322}});
            CHECK(c.ram.get(boundary, 5) == 0x8877665544);
        } else {
            CHECK(c.log == accesses{{'w', boundary, 4, 0x77665544}, {'w', boundary + 4, 1, 0x88}});
            CHECK(c.ram.get(boundary - 3, 3) == 0x332211);
        }
        c.log.clear();
        c.device_value = 0x1122334455667788;
        c.set_rip(hv::test::code_page);
        REQUIRE(run(c, {0x48, 0x8b, 0x03}).kind == outcome_kind::done);
        CHECK(c[gpr::rax] == (device_first ? 0x8877665544'788988 : 0x89'55667788'332211));
        CHECK(c.log.size() == 2);
    }
}

TEST_CASE("a write to read-only memory reaches the device behind it, and a read does not") {
    auto c = make_cpu(code_size::bits_64);
    c.ram.read_only[data_page >> 12] = true;
    c.ram.put(data_page, 4, 0x12345678);
    c[gpr::rbx] = data_page;
    REQUIRE(run(c, {0xff, 0x03}).kind == outcome_kind::done); // inc dword [rbx]
    CHECK(c.log == accesses{{'w', data_page, 4, 0x12345679}});
    CHECK(c.ram.get(data_page, 4) == 0x12345678);
}

TEST_CASE("addresses wrap at the address size") {
    SECTION("16-bit address in 16-bit code") {
        auto c = make_cpu(code_size::bits_16);
        c[gpr::rbx] = 0x1234fff0;
        c[gpr::rsi] = 0x5678'8010;
        c[segment_name::ds].base = data_page;
        c[segment_name::ds].base -= 0x8000; // 0xfff0 + 0x8010 = 0x8000
        c.ram.put(data_page, 2, 0xbeef);
        REQUIRE(run(c, {0x8b, 0x00}).kind == outcome_kind::done); // mov ax, [bx + si]
        CHECK(c[gpr::rax] == 0xbeef);
    }
    SECTION("32-bit address in 64-bit code") {
        auto c = make_cpu(code_size::bits_64);
        c[gpr::rbx] = 0xffff'ffff'ffff'ff00;
        c.ram.put(data_page, 4, 0xcafebabe);
        REQUIRE(run(c, {0x67, 0x8b, 0x83, 0x00, 0x01, 0x02, 0x00}).kind == outcome_kind::done); // [ebx + 0x20100]
        CHECK(c[gpr::rax] == 0xcafebabe);
    }
    SECTION("linear address in 32-bit code") {
        auto c = make_cpu(code_size::bits_32);
        c[segment_name::ds].base = 0xffff'0000;
        c[gpr::rbx] = data_page + 0x1'0000;
        c.ram.put(data_page, 4, 0xcafebabe);
        REQUIRE(run(c, {0x8b, 0x03}).kind == outcome_kind::done);
        CHECK(c[gpr::rax] == 0xcafebabe);
    }
    SECTION("RIP-relative counts from the end of the instruction") {
        auto c = make_cpu(code_size::bits_64);
        c.ram.put(data_page + 0x10, 4, 0x600d);
        auto const displacement = data_page + 0x10 - (hv::test::code_page + 7);
        auto const byte = [&](unsigned n) { return static_cast<unsigned>(displacement >> (8 * n) & 0xff); };
        // cmp dword [rip + displacement], 0x0d with an immediate behind it
        REQUIRE(run(c, {0x83, 0x3d, byte(0), byte(1), byte(2), byte(3), 0x0d}).kind == outcome_kind::done);
        CHECK((c.rflags() & hv::x86::rflags::zf) == 0);
        c.ram.put(data_page + 0x10, 4, 0x0d);
        c.set_rip(hv::test::code_page);
        REQUIRE(hv::step(c).kind == outcome_kind::done);
        CHECK((c.rflags() & hv::x86::rflags::zf) != 0);
    }
    SECTION("RIP wraps at 32 bits outside 64-bit code") {
        auto c = make_cpu(code_size::bits_32);
        c.ram.add(0xffff'f000);
        c.set_rip(0xffff'ffff);
        REQUIRE(run(c, {0x90}).kind == outcome_kind::done);
        CHECK(c.rip() == 0);
    }
}

TEST_CASE("FS and GS have a base in 64-bit code, the others none") {
    auto c = make_cpu(code_size::bits_64);
    c[segment_name::gs].base = 0xffff'ffff'ffff'0000;
    c[segment_name::ds].base = 0x5000;
    c[gpr::rbx] = data_page + 0x1'0000;
    c.ram.put(data_page, 4, 0xcafebabe);
    REQUIRE(run(c, {0x65, 0x8b, 0x03}).kind == outcome_kind::done);
    CHECK(c[gpr::rax] == 0xcafebabe);
    c[gpr::rbx] = data_page;
    REQUIRE(run(c, {0x8b, 0x0b}).kind == outcome_kind::done);
    CHECK(c[gpr::rcx] == 0xcafebabe);
}

TEST_CASE("bit strings reach memory below the operand") { // XSA-195
    auto c = make_cpu(code_size::bits_32);
    c[gpr::rbx] = data_page + 0x100;
    c[gpr::rcx] = 0xffff'ffff; // -1
    REQUIRE(run(c, {0x0f, 0xab, 0x0b}).kind == outcome_kind::done);
    CHECK(c.ram.get(data_page + 0xfc, 4) == 0x8000'0000);
    c[gpr::rcx] = 0x8000; // 16-bit: -32768, that is 4096 bytes below
    c[gpr::rbx] = data_page + 0x1100;
    REQUIRE(run(c, {0x66, 0x0f, 0xab, 0x0b}).kind == outcome_kind::done);
    CHECK(c.ram.get(data_page + 0x100, 2) == 1);
}

TEST_CASE("PUSH and POP follow the width of the stack") {
    SECTION("64-bit code") {
        auto c = make_cpu(code_size::bits_64);
        c[gpr::rax] = 0x1122334455667788;
        REQUIRE(run(c, {0x50}).kind == outcome_kind::done);
        CHECK(c[gpr::rsp] == data_page + 0x7f8);
        CHECK(c.ram.get(data_page + 0x7f8, 8) == 0x1122334455667788);
        REQUIRE(run(c, {0x66, 0x50}).kind == outcome_kind::done);
        CHECK(c[gpr::rsp] == data_page + 0x7f6);
        CHECK(c.ram.get(data_page + 0x7f6, 2) == 0x7788);
        REQUIRE(run(c, {0x66, 0x59}).kind == outcome_kind::done);
        CHECK(c[gpr::rcx] == 0x7788);
        REQUIRE(run(c, {0x5a}).kind == outcome_kind::done);
        CHECK(c[gpr::rdx] == 0x1122334455667788);
        CHECK(c[gpr::rsp] == data_page + 0x800);
        REQUIRE(run(c, {0x6a, 0x80}).kind == outcome_kind::done);
        CHECK(c.ram.get(data_page + 0x7f8, 8) == 0xffff'ffff'ffff'ff80);
    }
    SECTION("a 16-bit stack wraps within 64 KiB") {
        auto c = make_cpu(code_size::bits_32);
        c[segment_name::ss] = {.base = data_page - 0xf000, .limit = 0xffff, .access = 0x93, .selector = 8};
        c[gpr::rsp] = 0xabcd'f002;
        c[gpr::rax] = 0x11223344;
        REQUIRE(run(c, {0x66, 0x50}).kind == outcome_kind::done);
        CHECK(c[gpr::rsp] == 0xabcd'f000);
        CHECK(c.ram.get(data_page, 2) == 0x3344);
        c[gpr::rsp] = 0xabcd'0001; // 0xfffd..0x10000 with four bytes is beyond the limit
        CHECK(is_fault(run(c, {0x50}), exception::stack_fault));
    }
    SECTION("PUSH of a device register and POP into one") {
        auto c = make_cpu(code_size::bits_64);
        c[gpr::rbx] = device_page;
        REQUIRE(run(c, {0xff, 0x33}).kind == outcome_kind::done);
        CHECK(c.log == accesses{{'r', device_page, 8, 0x1122334455667788}});
        CHECK(c.ram.get(data_page + 0x7f8, 8) == 0x1122334455667788);
        REQUIRE(run(c, {0x8f, 0x03}).kind == outcome_kind::done);
        CHECK(c.log.back() == device_access{'w', device_page, 8, 0x1122334455667788});
    }
    SECTION("POP sees RSP already incremented") {
        auto c = make_cpu(code_size::bits_64);
        c.ram.put(data_page + 0x800, 8, 0x600d);
        REQUIRE(run(c, {0x8f, 0x04, 0x24}).kind == outcome_kind::done); // pop qword [rsp]
        CHECK(c.ram.get(data_page + 0x808, 8) == 0x600d);
        REQUIRE(run(c, {0x5c}).kind == outcome_kind::done); // pop rsp
        CHECK(c[gpr::rsp] == 0x600d);
    }
    SECTION("PUSH RSP stores the old value") {
        auto c = make_cpu(code_size::bits_64);
        REQUIRE(run(c, {0x54}).kind == outcome_kind::done);
        CHECK(c.ram.get(data_page + 0x7f8, 8) == data_page + 0x800);
    }
}

TEST_CASE("IN leaves what it does not read, and 32 bits clear the upper half") {
    auto c = make_cpu(code_size::bits_64);
    c[gpr::rdx] = 0xffff'0070;
    auto const in = [&](std::initializer_list<unsigned> code) {
        c[gpr::rax] = 0xaabbccddeeff9911;
        c.device_value = 0x1122334455667788;
        REQUIRE(run(c, code).kind == outcome_kind::done);
        return c[gpr::rax];
    };
    CHECK(in({0xec}) == 0xaabbccddeeff9988);
    CHECK(in({0x66, 0xed}) == 0xaabbccddeeff7788);
    CHECK(in({0xed}) == 0x55667788);
    CHECK(in({0x48, 0xed}) == 0x55667788);
    CHECK(in({0xe4, 0xfe}) == 0xaabbccddeeff9988);
    CHECK(c.log.back() == device_access{'i', 0xfe, 1, 0x88});
    c[gpr::rax] = 0xaabbccddeeff9911;
    REQUIRE(run(c, {0xef}).kind == outcome_kind::done);
    CHECK(c.log.back() == device_access{'o', 0x70, 4, 0xeeff9911});
    REQUIRE(run(c, {0xe6, 0x80}).kind == outcome_kind::done);
    CHECK(c.log.back() == device_access{'o', 0x80, 1, 0x11});
}

TEST_CASE("ports of a task without privilege are those of its bitmap") {
    auto c = make_cpu(code_size::bits_32);
    c.register_file::cpl = 3;
    c[gpr::rdx] = 0x71;
    c[segment_name::tr] = {.base = data_page, .limit = 0x67 + 0x20, .access = 0x8b, .selector = 0x18};
    c.ram.put(data_page + 0x66, 2, 0x68);
    auto const before = c.registers();
    c.ram.put(data_page + 0x68 + 0x71 / 8, 1, 0x02);
    CHECK(is_fault(run(c, {0xec}), exception::general_protection)); // its bit is set
    CHECK(c.registers() == before);
    CHECK(c.log.empty());
    c.ram.put(data_page + 0x68 + 0x71 / 8, 1, 0x04);
    CHECK(run(c, {0xec}).kind == outcome_kind::done);
    CHECK(is_fault(run(c, {0x66, 0xed}), exception::general_protection)); // the second port's is
    c[gpr::rdx] = 0xf8;                                                   // its second byte lies behind the limit
    CHECK(is_fault(run(c, {0xec}), exception::general_protection));
    c.set_rflags(c.rflags() | hv::x86::rflags::iopl);
    CHECK(run(c, {0xec}).kind == outcome_kind::done);
    c.set_rflags(c.rflags() | hv::x86::rflags::vm); // virtual-8086 mode looks at the bitmap whatever IOPL says
    CHECK(is_fault(run(c, {0xec}), exception::general_protection));
}

TEST_CASE("the processor reads the I/O bitmap with its own rights, not the task's") {
    auto c = make_cpu(code_size::bits_64);
    hv::test::enable_paging(c);
    hv::test::map(c, hv::test::code_page, hv::test::code_page, hv::test::page::all);
    hv::test::map(c, data_page, data_page, hv::test::page::present); // supervisor
    c[segment_name::tr] = {.base = data_page, .limit = 0xfff, .access = 0x8b, .selector = 0x18};
    c.ram.put(data_page + 0x66, 2, 0x68);
    c.register_file::cpl = 3;
    CHECK(run(c, {0xec}).kind == outcome_kind::done);
    // SMAP keeps it from a user page whatever RFLAGS.AC says.
    hv::test::map(c, data_page, data_page, hv::test::page::all);
    c.cr[4] |= hv::x86::cr4::smap;
    c.set_rflags(2 | hv::x86::rflags::ac);
    CHECK(is_fault(run(c, {0xec}), exception::page_fault, hv::x86::page_fault_error::present));
}

TEST_CASE("control registers move in full, and refusals are #GP") {
    for (auto const mode : modes) {
        auto c = make_cpu(mode);
        c[gpr::rbx] = 0xaabbccdd'00000011 | hv::x86::cr0::pe;
        REQUIRE(run(c, {0x0f, 0x22, 0xc3}).kind == outcome_kind::done); // mov cr0, rbx
        CHECK(c.cr[0] == (mode == code_size::bits_64 ? 0xaabbccdd'00000011 : 0x11));
        c.cr[3] = 0x12345678'9abcd000;
        REQUIRE(run(c, {0x66, 0x0f, 0x20, 0xd8}).kind == outcome_kind::done); // mov eax, cr3: no 16-bit form
        CHECK(c[gpr::rax] == (mode == code_size::bits_64 ? 0x12345678'9abcd000 : 0x9abcd000));
        auto const rip = c.rip();
        c.refuses_control_registers = true;
        CHECK(is_fault(run(c, {0x0f, 0x22, 0xe3}), exception::general_protection));
        CHECK(c.rip() == rip);
        c.register_file::cpl = 3;
        CHECK(is_fault(run(c, {0x0f, 0x20, 0xc0}), exception::general_protection));
        CHECK(is_fault(run(c, {0x0f, 0x06}), exception::general_protection));
        CHECK(is_fault(run(c, {0x0f, 0x21, 0xc0}), exception::general_protection));
    }
    auto c = make_cpu(code_size::bits_64);
    c[gpr::rax] = 5;
    REQUIRE(run(c, {0x44, 0x0f, 0x22, 0xc0}).kind == outcome_kind::done); // mov cr8, rax
    CHECK(c.cr[8] == 5);
    CHECK(is_fault(run(c, {0x0f, 0x20, 0xc8}), exception::invalid_opcode)); // cr1
}

TEST_CASE("CLTS, LMSW and SMSW work on the low half of CR0") {
    namespace cr0 = hv::x86::cr0;
    auto c = make_cpu(code_size::bits_32);
    c.cr[0] = cr0::pe | cr0::ts | cr0::mp | cr0::ne;
    REQUIRE(run(c, {0x0f, 0x06}).kind == outcome_kind::done);
    CHECK(c.cr[0] == (cr0::pe | cr0::mp | cr0::ne));
    c[gpr::rbx] = 0xffff'fff8; // TS only: PE stays, MP goes, bits above 3 do not matter
    REQUIRE(run(c, {0x0f, 0x01, 0xf3}).kind == outcome_kind::done);
    CHECK(c.cr[0] == (cr0::pe | cr0::ts | cr0::ne));
    c[gpr::rbx] = data_page;
    c.ram.put(data_page, 4, 0xffff'0002);
    REQUIRE(run(c, {0x0f, 0x01, 0x33}).kind == outcome_kind::done);
    CHECK(c.cr[0] == (cr0::pe | cr0::mp | cr0::ne));
    auto real = make_cpu(code_size::bits_16);
    real.cr[0] = 0;
    real[gpr::rbx] = 1;
    REQUIRE(run(real, {0x0f, 0x01, 0xf3}).kind == outcome_kind::done); // LMSW is one way into protected mode
    CHECK(real.cr[0] == cr0::pe);
    c.cr[0] |= cr0::wp;
    REQUIRE(run(c, {0x0f, 0x01, 0xe0}).kind == outcome_kind::done); // smsw eax
    CHECK(c[gpr::rax] == c.cr[0]);
    REQUIRE(run(c, {0x0f, 0x01, 0x23}).kind == outcome_kind::done); // smsw [ebx]: 16 bits
    CHECK(c.ram.get(data_page, 4) == (0xffff'0000 | (c.cr[0] & 0xffff)));
    c.register_file::cpl = 3;
    CHECK(run(c, {0x0f, 0x01, 0xe0}).kind == outcome_kind::done);
    c.cr[4] = hv::x86::cr4::umip;
    CHECK(is_fault(run(c, {0x0f, 0x01, 0xe0}), exception::general_protection)); // CVE-2018-10853
    CHECK(is_fault(run(c, {0x0f, 0x01, 0xf3}), exception::general_protection));
}

TEST_CASE("debug registers alias, refuse and trap as DR7 and CR4 say") {
    auto c = make_cpu(code_size::bits_64);
    c[gpr::rax] = 0x1234'5678;
    REQUIRE(run(c, {0x0f, 0x23, 0xe0}).kind == outcome_kind::done); // mov dr4, rax
    CHECK(c.dr[6] == 0x1234'5678);
    c.cr[4] = hv::x86::cr4::de;
    CHECK(is_fault(run(c, {0x0f, 0x23, 0xe0}), exception::invalid_opcode));
    c[gpr::rax] = 0x1'0000'0000;
    CHECK(is_fault(run(c, {0x0f, 0x23, 0xf8}), exception::general_protection)); // upper half of DR7
    REQUIRE(run(c, {0x0f, 0x23, 0xc0}).kind == outcome_kind::done);             // DR0 holds an address
    CHECK(c.dr[0] == 0x1'0000'0000);
    c.dr[7] = 1u << 13;
    auto const o = run(c, {0x0f, 0x21, 0xc3});
    CHECK(is_fault(o, exception::debug));
    CHECK(o.qualification == 1u << 13);
}

TEST_CASE("what belongs to the vCPU is unsupported and changes nothing") {
    for (auto const mode : modes)
        for (auto const& code : {std::initializer_list<unsigned>{0x0f, 0xa2},
                                 {0xf4},
                                 {0x0f, 0x32},
                                 {0x0f, 0x30},
                                 {0x0f, 0x01, 0xd9},
                                 {0x0f, 0x10, 0x00},
                                 {0xe8, 0, 0, 0, 0},
                                 {0x0f, 0x01, 0x18}}) {
            auto c = make_cpu(mode);
            auto const before = c.registers();
            auto const o = run(c, code);
            CHECK(o.kind == outcome_kind::unsupported);
            CHECK(o.instruction.bytes[0] == *code.begin());
            CHECK(c.registers() == before);
        }
}

TEST_CASE("a completed instruction clears RF and reports TF") { // XSA-204
    auto c = make_cpu(code_size::bits_64);
    c.set_rflags(2 | hv::x86::rflags::rf);
    CHECK_FALSE(run(c, {0x01, 0xc8}).single_step);
    CHECK((c.rflags() & hv::x86::rflags::rf) == 0);
    c.set_rflags(2 | hv::x86::rflags::tf);
    CHECK(run(c, {0x01, 0xc8}).single_step);
    CHECK_FALSE(run(c, {0x0f, 0x0b}).single_step); // a fault is no trap
}

TEST_CASE("BEXTR needs protected mode") {
    auto c = make_cpu(code_size::bits_32);
    c[gpr::rbx] = device_page;
    c[gpr::rcx] = 4 | 8 << 8;
    REQUIRE(run(c, {0xc4, 0xe2, 0x70, 0xf7, 0x03}).kind == outcome_kind::done); // bextr eax, [ebx], ecx
    CHECK(c[gpr::rax] == 0x78);
    c.cr[0] = 0;
    CHECK(is_fault(run(c, {0xc4, 0xe2, 0x70, 0xf7, 0x03}), exception::invalid_opcode));
}

TEST_CASE("bytes that come with the exit are used, and completed where they are too few") {
    auto c = make_cpu(code_size::bits_64);
    constexpr std::uint8_t add[]{0x48, 0x01, 0xc8};
    c.ram.fill(hv::test::code_page, {0x48, 0x29, 0xc8}); // another instruction by now
    c[gpr::rax] = 5;
    c[gpr::rcx] = 3;
    CHECK(hv::step(c, add).kind == outcome_kind::done);
    CHECK(c[gpr::rax] == 8);
    c.set_rip(hv::test::code_page);
    CHECK(hv::step(c, std::span{add}.first(2)).kind == outcome_kind::done);
    CHECK(c[gpr::rax] == 5);
}
