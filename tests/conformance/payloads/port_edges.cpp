// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: an access over the edge of a device's ports reaches the bytes that it has; the others read as ones.
// reference: no, QEMU has other devices beside.
#include "devices.hpp"

using namespace payload;

namespace {
constexpr u16 scratch{0x3ff}; // of the UART
constexpr u8 cell{0x40};      // of the clock's memory

/// What single bytes say about `count` ports from `first` on.
auto bytes_at(u16 first, unsigned count) -> u32 {
    u32 value{};
    for (unsigned i{}; i != count; ++i)
        value |= u32{in8(static_cast<u16>(first + i))} << 8 * i;
    return value;
}
/// Devices whose ports read the same twice.
void judge(u16 first, u16 last) {
    for (unsigned port = first - 3u; port != last + 1u; ++port) {
        auto const p = static_cast<u16>(port);
        if (in16(p) != bytes_at(p, 2) or in32(p) != bytes_at(p, 4)) {
            print_hex(port);
            print(": ");
            expect_equal(in16(p), bytes_at(p, 2), "a word");
            expect_equal(in32(p), bytes_at(p, 4), "a double word");
        }
    }
}
} // namespace

void payload::run() {
    auto const old = rtc::read(cell);
    out8(scratch, 0x5a);
    pic::initialise();
    judge(0x20, 0x21);
    judge(0xa0, 0xa1);
    judge(0x4d0, 0x4d1);
    judge(0x70, 0x71);
    judge(0xe9, 0xe9);
    judge(0xf4, 0xf7);
    judge(0xcf8, 0xcfb);
    judge(0x600, 0x604);

    // Behind each device's last port nobody answers.
    expect_equal(in16(0x21), 0xffff, "the mask, and nobody");
    expect_equal(in16(0xe8), 0xe9ff, "nobody, and the debug port");
    expect_equal(in16(0xe9), 0xffe9, "the debug port, and nobody");
    expect_equal(in16(scratch), 0xff5a, "the UART's last port, and nobody");
    expect_equal(in32(scratch), 0xffffff5a, "the UART's last port, and three of nobody's");
    expect_equal(in32(0xf2), 0x0000ffff, "two of nobody's, and the exit port");
    expect_equal(in32(0xf6), 0xffff0000, "the exit port, and two of nobody's");
    expect_equal(in32(0x60a) >> 16, 0xffff, "half of the timer, and nobody");
    expect_equal(in16(0x60b) >> 8, 0xff, "a byte of the timer, and nobody");
    expect_equal(in32(0xffff), 0xffffffff, "the last port and the first three");
    expect_equal(in16(0xffff), 0xffff, "the last port and the first");

    // Writes: an index and a value in one word, at the start, at the end, in the middle of a double word.
    out16(0x70, cell | 0x11 << 8);
    expect_equal(in8(0x71), 0x11, "index and value in a word");
    out16(0x71, 0xee22);
    expect_equal(rtc::read(cell), 0x22, "a value, and a byte to nobody");
    out16(0x6f, cell << 8 | 0x55);
    expect_equal(in8(0x71), 0x22, "a byte to nobody, and the index");
    out32(0x6e, 0x33'40'55'66);
    expect_equal(in8(0x71), 0x33, "two bytes to nobody, index and value");
    out16(0x3fe, 0xa500);
    expect_equal(in8(scratch), 0xa5, "the last byte of a word");
    out32(scratch, 0x11223377);
    expect_equal(in8(scratch), 0x77, "the first byte of a double word");
    rtc::write(cell, old);

    // What IN leaves of RAX, by all its forms; OUT leaves all.
    constexpr u64 pattern{0x1122334455667788};
    u64 rax{pattern};
    asm volatile("inb $0xe9, %%al" : "+a"(rax));
    expect_equal(rax, (pattern & ~u64{0xff}) | 0xe9, "IN of a byte keeps 56 bits");
    rax = pattern;
    asm volatile("inw $0xe9, %%ax" : "+a"(rax));
    expect_equal(rax, (pattern & ~u64{0xffff}) | 0xffe9, "IN of a word keeps 48 bits");
    rax = pattern;
    asm volatile("inl $0xe9, %%eax" : "+a"(rax));
    expect_equal(rax, 0xffffffe9, "IN of a double word clears the upper half");
    rax = pattern;
    u64 const rdx{0xffffffff'000000e9}; // DX alone counts
    asm volatile("inb %%dx, %%al" : "+a"(rax) : "d"(rdx));
    expect_equal(rax, (pattern & ~u64{0xff}) | 0xe9, "IN of a byte by DX");
    rax = pattern;
    asm volatile("inw %%dx, %%ax" : "+a"(rax) : "d"(rdx));
    expect_equal(rax, (pattern & ~u64{0xffff}) | 0xffe9, "IN of a word by DX");
    rax = pattern;
    asm volatile(".byte 0x48, 0xed" : "+a"(rax) : "d"(rdx));
    expect_equal(rax, 0xffffffe9, "IN with REX.W is one of a double word");
    rax = pattern;
    asm volatile("outb %%al, $0x80; outw %%ax, $0x80; outl %%eax, $0x80" : "+a"(rax));
    expect_equal(rax, pattern, "OUT");
}
