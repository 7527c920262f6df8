// SPDX-License-Identifier: BSD-2-Clause
#include "payload.hpp"

extern "C" {
extern payload::u64 level4[512], level3[512], level2[4 * 512];
extern payload::gate gates[256];
extern payload::u64 guard_stack;
extern char const payload_name[];
void guarded_call(void (*function)(void*), void* argument);
void guarded_return();
void payload_start();
void payload_interrupt(payload::frame& f);
}

namespace payload {
namespace {

bool debug_port_exists;
u64 failures;
handler handlers[256];
u64 counts[256];
caught last;

constexpr u16 debug_port{0xe9}, serial_port{0x3f8}, exit_port{0xf4};

void print_failure(char const* what) {
    ++failures;
    print("FAILED: ");
    print(what);
}

} // namespace

void print_char(char c) {
    if (debug_port_exists) {
        out8(debug_port, static_cast<u8>(c));
        return;
    }
    constexpr u16 line_status{serial_port + 5};
    constexpr u8 transmitter_empty{0x20};
    for (unsigned patience{100'000}; (in8(line_status) & transmitter_empty) == 0 and patience != 0;)
        --patience;
    out8(serial_port, static_cast<u8>(c));
}

void print(char const* text) {
    for (; *text != 0; ++text)
        print_char(*text);
}

void print_hex(u64 value) {
    print("0x");
    int shift{60};
    while (shift != 0 and (value >> shift) == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        print_char("0123456789abcdef"[value >> shift & 15]);
}

void print_decimal(u64 value) {
    char digits[20];
    unsigned n{};
    do
        digits[n++] = static_cast<char>('0' + value % 10);
    while ((value /= 10) != 0);
    while (n != 0)
        print_char(digits[--n]);
}

void fail(char const* what) {
    print_failure(what);
    print("\n");
}

void expect(bool condition, char const* what) {
    if (not condition)
        fail(what);
}

void expect_equal(u64 actual, u64 wanted, char const* what) {
    if (actual == wanted)
        return;
    print_failure(what);
    print(": is ");
    print_hex(actual);
    print(", should be ");
    print_hex(wanted);
    print("\n");
}

void expect_between(u64 actual, u64 low, u64 high, char const* what) {
    if (actual >= low and actual <= high)
        return;
    print_failure(what);
    print(": is ");
    print_decimal(actual);
    print(", should be from ");
    print_decimal(low);
    print(" to ");
    print_decimal(high);
    print("\n");
}

void leave(u32 code) {
    out32(exit_port, code);
    for (;;)
        asm volatile("cli; hlt");
}

void finish() {
    print(payload_name);
    if (failures == 0) {
        print(": ok\n");
        leave(0);
    }
    print(": ");
    print_decimal(failures);
    print(" failed\n");
    leave(1);
}

void set_handler(unsigned vector, handler function) {
    handlers[vector] = function;
}
auto count_of(unsigned vector) -> u64 {
    return *static_cast<u64 volatile*>(&counts[vector]);
}

auto detail::attempt(void (*function)(void*), void* argument) -> caught {
    last = {};
    guarded_call(function, argument);
    return last;
}

auto gate_of(unsigned vector) -> gate& {
    return gates[vector];
}

auto entry_of(u64 address) -> u64& {
    alignas(4096) static u64 tables[16][512];
    static unsigned used;
    auto& directory = level2[address >> 21];
    if ((directory & page::large) != 0) {
        auto& table = tables[used++ % 16];
        for (u64 i{}; i != 512; ++i)
            table[i] = (directory & ~u64{page::large}) + i * 4096;
        directory = reinterpret_cast<u64>(&table) | page::present | page::writable;
        write_cr3(read_cr3());
    }
    return reinterpret_cast<u64*>(directory & 0x000ffffffffff000)[address >> 12 & 511];
}

void allow_user(u64 address) {
    entry_of(address) |= page::user;
    level4[0] |= page::user;
    level3[address >> 30] |= page::user;
    level2[address >> 21] |= page::user;
    write_cr3(read_cr3());
}

auto attempt_user(u64 rip, u64 rsp) -> caught {
    return attempt([rip, rsp] {
        asm volatile(
            "push %[data]; push %[stack]; push $0x202; push %[code]; push %[rip]; iretq" ::[data] "r"(u64{user_data}),
            [stack] "r"(rsp), [code] "r"(u64{user_code64}), [rip] "r"(rip)
            : "memory");
    });
}

namespace {

[[noreturn]] void report_unexpected(frame const& f) {
    print_failure("unexpected exception ");
    print_decimal(f.vector);
    print(" at ");
    print_hex(f.rip);
    print(", error code ");
    print_hex(f.error_code);
    print(", CR2 ");
    print_hex(read_cr2());
    print(", stack ");
    print_hex(f.rsp);
    print("\n");
    finish();
}

void end_guarded_call(frame& f) {
    last = {static_cast<unsigned>(f.vector), f.error_code, f.rip, read_cr2()};
    f.rip = reinterpret_cast<u64>(&guarded_return);
    f.cs = code64;
    f.ss = data;
    f.rsp = guard_stack;
    f.rflags = 2;
}

} // namespace
} // namespace payload

void payload_interrupt(payload::frame& f) {
    using namespace payload;
    ++counts[f.vector];
    if (auto* const function = handlers[f.vector])
        function(f);
    else if (guard_stack != 0 and (f.vector < 32 or (f.cs & 3) != 0))
        end_guarded_call(f);
    else if (f.vector < 32)
        report_unexpected(f);
}

void payload_start() {
    using namespace payload;
    debug_port_exists = in8(debug_port) == debug_port;
    if (not debug_port_exists)
        out8(serial_port + 3, 3); // 8 bits
    out8(0x21, 0xff);             // a BIOS may have left its timer running
    out8(0xa1, 0xff);
    print(payload_name);
    print("\n");
    run();
    finish();
}
