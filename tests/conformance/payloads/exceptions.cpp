// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// smoke: yes
// judges: each exception arrives at its own gate, with its error code, at the instruction that raised it.
#include "payload.hpp"

using namespace payload;

void payload::run() {
    expect_exception(none, [] {}, "nothing raises nothing");
    expect_exception(vector::undefined, [] { asm volatile("ud2"); }, "UD2");
    expect_exception(vector::breakpoint, [] { asm volatile("int3"); }, "INT3");
    expect_exception(
        vector::divide_error,
        [] {
            asm volatile("xor %%ecx, %%ecx; div %%ecx" ::: "eax", "ecx", "edx", "cc");
        },
        "division by zero");

    // A far jump needs a code segment: selector 0x10 is data, 0x50 lies beyond the table.
    auto const load = [](u16 selector) {
        return attempt([selector] { asm volatile("mov %0, %%fs" ::"r"(selector)); });
    };
    auto const beyond = load(0x50);
    expect_equal(beyond.vector, vector::protection, "a selector beyond the descriptor table");
    expect_equal(beyond.error_code, 0x50, "its error code");
    auto const task = load(0x30);
    expect_equal(task.vector, vector::protection, "a system descriptor in FS");
    expect_equal(task.error_code, 0x30, "its error code");

    auto const non_canonical = attempt([] { (void)*reinterpret_cast<u8 volatile*>(u64{1} << 47); });
    expect_equal(non_canonical.vector, vector::protection, "a non-canonical address");
    expect_equal(non_canonical.error_code, 0, "its error code");

    constexpr u64 hole{0x30000000};
    entry_of(hole) = 0;
    invlpg(hole);
    auto const read = attempt([] { (void)*reinterpret_cast<u8 volatile*>(hole + 0x123); });
    expect_equal(read.vector, vector::page_fault, "a read of an absent page");
    expect_equal(read.error_code, 0, "its error code");
    expect_equal(read.cr2, hole + 0x123, "CR2");
    auto const write = attempt([] { *reinterpret_cast<u8 volatile*>(hole) = 1; });
    expect_equal(write.vector, vector::page_fault, "a write to an absent page");
    expect_equal(write.error_code, 2, "its error code");
    auto const fetch = attempt([] { asm volatile("call *%0" ::"r"(hole)); });
    expect_equal(fetch.vector, vector::page_fault, "a fetch from an absent page");
    expect_equal(fetch.rip, hole, "RIP");

    auto const software = attempt([] { asm volatile("int $0x80"); });
    expect_equal(software.vector, none, "INT 80h has a gate");
    expect_equal(count_of(0x80), 1, "INT 80h arrived");
}
