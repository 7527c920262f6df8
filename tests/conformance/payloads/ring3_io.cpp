// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: ring 3 reaches the ports that IOPL or the I/O permission bitmap allow, every byte of an access, and no other.
// SDM Vol. 1, "I/O Permission Bit Map".
#include "devices.hpp"
#include "gates.hpp"

using namespace payload;

namespace {
constexpr unsigned bitmap_at{0x68}, map_size{0x2001};
constexpr u16 task_selector{0x30};
alignas(4096) u8 code[4096], stack[4096], segment[4096 * 3];

/// A task state segment with a bitmap that denies everything; `limit` is that of its descriptor.
void load_task(u16 limit) {
    auto const base = reinterpret_cast<u64>(segment);
    descriptors[task_selector / 8] = u64{0x89} << 40 | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56 | limit;
    asm volatile("ltr %w0" ::"r"(task_selector) : "memory");
}
void allow(u16 port, bool on) {
    auto& byte = segment[bitmap_at + port / 8];
    byte = static_cast<u8>((byte & ~(1u << port % 8)) | (on ? 0u : 1u << port % 8));
}
/// Where ring 3 stopped: 2 behind its instruction of one byte, and at #UD if that went through.
auto user(u8 opcode, u16 port, u64 flags = 0x202) -> unsigned {
    u8 const bytes[]{0x66, 0xba, static_cast<u8>(port), static_cast<u8>(port >> 8), opcode, 0x0f, 0x0b};
    for (unsigned i{}; i != sizeof bytes; ++i)
        static_cast<u8 volatile&>(code[i]) = bytes[i];
    auto const got = attempt([flags] {
        asm volatile("push %0; push %1; push %2; push %3; push %4; iretq" ::"r"(u64{user_data}),
                     "r"(reinterpret_cast<u64>(stack) + 4096), "r"(flags), "r"(u64{user_code64}),
                     "r"(reinterpret_cast<u64>(code))
                     : "memory");
    });
    if (got.vector == vector::protection)
        expect_equal(got.rip, reinterpret_cast<u64>(code) + 4, "at the instruction");
    return got.vector;
}
constexpr u8 in_byte{0xec}, in_double{0xed}, out_byte{0xee}, out_double{0xef}, cli_{0xfa}, halt{0xf4};
constexpr unsigned went{vector::undefined}, denied{vector::protection};
} // namespace

void payload::run() {
    allow_user(reinterpret_cast<u64>(code));
    allow_user(reinterpret_cast<u64>(stack));
    expect_equal(user(in_byte, 0x80), denied, "IN without a bitmap");
    expect_equal(user(halt, 0), denied, "HLT");

    for (unsigned i{}; i != sizeof task_state; ++i)
        segment[i] = task_state[i];
    for (unsigned i{}; i != map_size; ++i)
        segment[bitmap_at + i] = 0xff;
    segment[0x66] = bitmap_at;
    load_task(bitmap_at + map_size - 1);
    expect_equal(user(in_byte, 0x71), denied, "IN from a port whose bit is set");
    allow(0x71, true);
    expect_equal(user(in_byte, 0x71), went, "IN from a port whose bit is clear");
    expect_equal(user(in_byte, 0x70), denied, "IN from the port below");
    expect_equal(user(in_byte, 0x72), denied, "IN from the port above");

    // All bytes of a wide access count, over the end of a byte of the bitmap too.
    for (u16 p{0x1236}; p != 0x123a; ++p)
        allow(p, true);
    expect_equal(user(in_double, 0x1236), went, "IN of four allowed ports");
    expect_equal(user(out_double, 0x1236), went, "OUT to four allowed ports");
    expect_equal(user(in_double, 0x1235), denied, "IN of one denied port and three others");
    expect_equal(user(in_double, 0x1237), denied, "IN of three allowed ports and another");
    expect_equal(user(out_byte, 0x1239), went, "OUT to the last one");
    allow(0x1238, false);
    expect_equal(user(in_double, 0x1236), denied, "IN with a denied port in the middle");
    allow(0xffff, true);
    expect_equal(user(in_byte, 0xffff), went, "IN from the last port");

    // The segment's limit ends the bitmap.
    load_task(bitmap_at + 0x1236 / 8 + 1);
    expect_equal(user(in_byte, 0x1236), went, "IN from a port whose second byte is the last");
    load_task(bitmap_at + 0x1236 / 8);
    expect_equal(user(in_byte, 0x1236), denied, "IN from a port whose second byte lies beyond the limit");

    // IOPL needs no bitmap, and lets CLI through but not HLT.
    constexpr u64 iopl3{0x3202};
    expect_equal(user(in_byte, 0x70, iopl3), went, "IN with IOPL");
    expect_equal(user(out_double, 0x80, iopl3), went, "OUT with IOPL");
    expect_equal(user(cli_, 0, iopl3), went, "CLI with IOPL");
    expect_equal(user(halt, 0, iopl3), denied, "HLT with IOPL");
    expect_equal(user(cli_, 0), denied, "CLI without IOPL");
}
