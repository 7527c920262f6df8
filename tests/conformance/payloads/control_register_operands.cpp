// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: MOV to and from CR0, CR3, CR4 and CR8 takes and gives every general register, and no other.
#include "payload.hpp"

using namespace payload;

namespace {

/// code(value): loads a register with the value, moves it to a control register and back to RAX through it.
struct code {
    u8 bytes[32];
    unsigned size;

    void put(u8 byte) { static_cast<u8 volatile&>(bytes[size++]) = byte; }
    void put_move(u8 opcode, unsigned control, unsigned general) {
        put(static_cast<u8>(0x40 | (control >= 8 ? 4 : 0) | (general >= 8 ? 1 : 0)));
        put(0x0f);
        put(opcode);
        put(static_cast<u8>(0xc0 | (control & 7) << 3 | (general & 7)));
    }
    void make(unsigned control, unsigned general) {
        auto const extended = static_cast<u8>(general >= 8 ? 0x41 : 0x40), low = static_cast<u8>(general & 7);
        size = 0;
        put(extended);
        put(static_cast<u8>(0x50 | low)); // PUSH
        put(0x57);                        // PUSH RDI
        put(static_cast<u8>(general >= 8 ? 0x49 : 0x48));
        put(0x89);
        put(static_cast<u8>(0xf8 | low)); // MOV general, RDI
        if (general != 7) {
            put(0x31);
            put(0xff); // XOR EDI, EDI
        }
        put_move(0x22, control, general);
        put_move(0x20, control, general);
        put(static_cast<u8>(general >= 8 ? 0x4c : 0x48));
        put(0x89);
        put(static_cast<u8>(0xc0 | low << 3)); // MOV RAX, general
        put(0x5f);                             // POP RDI
        put(extended);
        if (general == 0) { // RAX holds the answer
            put(0x8d);
            put(0x64);
            put(0x24);
            put(0x08); // LEA ESP, [RSP + 8]
        } else {
            put(static_cast<u8>(0x58 | low)); // POP
        }
        put(0xc3);
    }
};

auto move_through(unsigned control, unsigned general, u64 value) -> u64 {
    static code at;
    at.make(control, general);
    u64 result{};
    asm volatile("call *%[code]" : "=a"(result), "+D"(value) : [code] "b"(&at) : "memory");
    return result;
}

} // namespace

void payload::run() {
    constexpr u64 ts{8}, tsd{4}, write_through{8};
    auto const cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4();
    for (unsigned general{}; general != 16; ++general) {
        if (general == 4)
            continue; // RSP: no kernel does
        expect_equal(move_through(0, general, cr0 ^ ts), cr0 ^ ts, "CR0 through a register");
        expect_equal(read_cr0(), cr0 ^ ts, "CR0");
        expect_equal(move_through(0, general, cr0 | 1u << 30), cr0 | 1u << 30, "CR0 with CD through a register");
        expect_equal(move_through(0, general, cr0), cr0, "CR0 as it was");
        expect_equal(move_through(3, general, cr3 | write_through), cr3 | write_through, "CR3 through a register");
        expect_equal(move_through(3, general, cr3), cr3, "CR3 as it was");
        expect_equal(move_through(4, general, cr4 ^ tsd), cr4 ^ tsd, "CR4 through a register");
        expect_equal(move_through(4, general, cr4), cr4, "CR4 as it was");
        expect_equal(move_through(8, general, general), general, "CR8 through a register");
        expect_equal(read_cr8(), general, "CR8");
    }
    write_cr8(0);
}
