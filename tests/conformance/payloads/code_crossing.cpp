// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: a served instruction over two pages runs as its bytes are now in both, or faults on the second.
#include "devices.hpp"

using namespace payload;

namespace {
alignas(4096) u8 code[2 * 4096], third[4096];

void place(u64 at, u8 const* bytes, unsigned count) {
    for (unsigned i{}; i != count; ++i)
        *reinterpret_cast<u8 volatile*>(at + i) = bytes[i];
}
auto call(u64 at) -> u64 {
    u64 rax{};
    asm volatile("call *%1" : "=&a"(rax) : "r"(at), "D"(lapic::base) : "rbx", "rcx", "rdx", "memory");
    return rax;
}
} // namespace

void payload::run() {
    lapic::enable();
    lapic::write(lapic::lvt_timer, lapic::masked | 0x40);
    auto const first = reinterpret_cast<u64>(code), second = first + 4096;
    auto& entry = entry_of(second);
    // mov dword [rdi + 0x380], imm32; ret: the constant lies wholly in the second page.
    constexpr u8 store[]{0xc7, 0x87, 0x80, 0x03, 0, 0, 0, 0, 0, 0, 0xc3};
    auto const at = second - 6;
    place(at, store, sizeof store);
    for (u32 i{1}; i != 200; ++i) {
        *reinterpret_cast<u32 volatile*>(second) = i;
        (void)call(at);
        expect_equal(lapic::read(lapic::initial_count), i, "a constant changed in the second page");
    }
    // The displacement, in the first page: 0x380, then 0x80.
    *reinterpret_cast<u32 volatile*>(second) = 0x20;
    *reinterpret_cast<u8 volatile*>(at + 2) = 0x80;
    *reinterpret_cast<u8 volatile*>(at + 3) = 0;
    (void)call(at);
    expect_equal(lapic::read(lapic::tpr), 0x20, "another register by a byte in the first page");
    // Another page comes in place of the second.
    place(reinterpret_cast<u64>(third), store + 6, sizeof store - 6);
    *reinterpret_cast<u32 volatile*>(third) = 0x30;
    auto const whole = entry;
    entry = (reinterpret_cast<u64>(third) & ~u64{0xfff}) | page::present | page::writable;
    invlpg(second);
    (void)call(at);
    expect_equal(lapic::read(lapic::tpr), 0x30, "another page in place of the second");
    entry = whole;
    invlpg(second);
    (void)call(at);
    expect_equal(lapic::read(lapic::tpr), 0x20, "the page of before");
    lapic::write(lapic::tpr, 0);

    // CPUID and IN across: the second half changes which instruction it is.
    constexpr u8 query[]{0x0f, 0xa2, 0x90, 0xc3}; // cpuid; nop; ret
    place(second - 1, query, sizeof query);
    u64 rbx{};
    asm volatile("call *%1" : "=b"(rbx) : "D"(second - 1), "a"(0) : "rcx", "rdx", "memory");
    expect_equal(rbx, cpuid(0).ebx, "CPUID over two pages");
    *reinterpret_cast<u8 volatile*>(second) = 0x31; // rdtsc
    auto const a = call(second - 1);
    expect(call(second - 1) != a, "RDTSC in its place");
    *reinterpret_cast<u8 volatile*>(second) = 0x0b; // ud2
    auto const undefined = attempt([=] { (void)call(second - 1); });
    expect_equal(undefined.vector, vector::undefined, "UD2 in its place");
    expect_equal(undefined.rip, second - 1, "RIP");

    // The second page is absent, not executable, or the kernel's: the fault is the fetch's.
    constexpr u8 input[]{0xe4, 0x71, 0xc3}; // in al, 0x71; ret
    place(second - 1, input, sizeof input);
    expect_exception(none, [=] { (void)call(second - 1); }, "IN over two pages");
    // Bochs keeps what it decoded until the first page is written.
    auto const forget = [=] { place(second - 1, input, 1); };
    entry &= ~page::present;
    invlpg(second);
    forget();
    auto const absent = attempt([=] { (void)call(second - 1); });
    expect_equal(absent.vector, vector::page_fault, "the second page absent");
    expect_equal(absent.cr2, second, "CR2");
    expect_equal(absent.rip, second - 1, "RIP");
    expect_equal(absent.error_code, 0x10, "a fetch from an absent page");
    entry |= page::present | page::no_execute;
    invlpg(second);
    forget();
    auto const forbidden = attempt([=] { (void)call(second - 1); });
    expect_equal(forbidden.vector, vector::page_fault, "the second page not executable");
    expect_equal(forbidden.cr2, second, "CR2");
    expect_equal(forbidden.error_code, 0x11, "a fetch from a present page");
    entry &= ~page::no_execute;
    invlpg(second);
    expect_exception(none, [=] { (void)call(second - 1); }, "IN at the end");
}
