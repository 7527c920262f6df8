// SPDX-License-Identifier: BSD-2-Clause
// The operations between two processors. The first measures; the second answers, and waits in between with PAUSE or
// HLT, which is where an emulator lets the other go on that runs processors in turn.
#include "samples.hpp"

#include <tests/conformance/processors.hpp>

using namespace payload;

extern "C" {
void pong_handler();
void ping_handler();
void answer_handler();
void flush_handler();
extern payload::u64 volatile asked, answers, halts, page_to_flush;
payload::u64 volatile asked{}, answers{}, halts{}, page_to_flush{};
}

// The end of the interrupt comes first, as in the handlers of systems.
asm(R"(
        .macro begin_handler
        push %rax; push %rcx; push %rdx
        mov $0x80b, %ecx
        xor %eax, %eax
        xor %edx, %edx
        wrmsr
        .endm
        .macro end_handler
        pop %rdx; pop %rcx; pop %rax
        iretq
        .endm
        .text
ping_handler:
        begin_handler
        mov $0x830, %ecx
        mov $0x42, %eax
        wrmsr
        end_handler
pong_handler:
answer_handler:
        begin_handler
        incq answers(%rip)
        end_handler
flush_handler:
        begin_handler
        mov page_to_flush(%rip), %rax
        invlpg (%rax)
        incq answers(%rip)
        end_handler
)");

namespace {

constexpr unsigned ping_vector{0x41}, pong_vector{0x42}, answer_vector{0x43}, flush_vector{0x44};
constexpr u32 apic_base{0x1b}, spurious{0x80f};
constexpr unsigned wake_ups{200};
constexpr u64 until_idle{300'000}; // a hypervisor may poll a while before a halted processor is idle

/// What the second does while no interrupt comes.
enum class waiting : u32 { spins, polls, polls_and_works, halts };
shared_count ready, how;

void enter_x2apic() {
    lapic::enable();
    wrmsr(apic_base, rdmsr(apic_base) | 0xc00);
    wrmsr(spurious, 0x1ff);
}

void second() {
    enter_x2apic();
    sti();
    ready.add();
    while (true) {
        auto const now = static_cast<waiting>(how.get());
        if (now == waiting::halts)
            asm volatile("cli; incq halts(%%rip); sti; hlt" : : : "memory", "cc");
        else
            asm volatile("pause");
        if ((now != waiting::polls and now != waiting::polls_and_works) or asked == answers)
            continue;
        if (now == waiting::polls_and_works)
            asm volatile(".rept 1000; nop; .endr");
        answers = asked;
    }
}

/// Returns when the second does so.
void let_second(waiting what) {
    how.set(static_cast<u32>(what));
    for (unsigned i{}; i != 100; ++i)
        pause();
}

// RDI is what the answers come to.
#define AWAIT "\n1:\n\tpause\n\tcmp %%rdi, answers(%%rip)\n\tjne 1b"
#define ASK "mov %%rdi, asked(%%rip)" AWAIT
#define SEND(vector) "mov $0x830, %%ecx\n\tmov $" vector ", %%eax\n\tmov $1, %%edx\n\twrmsr" AWAIT

void measure_memory() {
    let_second(waiting::polls);
    asked = answers;
    BENCH("remote_answer", 0, ASK, answers + 1);
    let_second(waiting::polls_and_works);
    BENCH("remote_answer_nop1000", 0, ASK, answers + 1);
}

void measure_interrupts() {
    let_second(waiting::spins);
    BENCH("ipi_round_trip", 3, SEND("0x41"), answers + 1);
    page_to_flush = 16u << 20;
    BENCH("remote_tlb_flush", 4, "invlpg 0x1000000\n\t" SEND("0x44"), answers + 1);
}

void measure_wake_up() {
    let_second(waiting::halts);
    for (unsigned i{}; i != warm_up + wake_ups; ++i) {
        auto const halted = i + 1;
        while (halts != halted)
            pause();
        for (auto const begin = rdtsc(); rdtsc() - begin < until_idle;)
            pause();
        if (i == warm_up)
            begin_samples();
        else if (i > warm_up)
            resume_samples();
        auto const sample = SAMPLE(SEND("0x43"), answers + 1);
        end_samples(); // how it halts again is not counted
        if (i >= warm_up)
            sample_of[i - warm_up] = sample;
    }
    report("ipi_to_halted", 3, wake_ups);
}

} // namespace

void payload::run() {
    set_entry(ping_vector, ping_handler);
    set_entry(pong_vector, pong_handler);
    set_entry(answer_vector, answer_handler);
    set_entry(flush_vector, flush_handler);
    lapic::enable();
    start_processor(1, second);
    if (not ready.reaches(1))
        return fail("the second processor does not start");
    enter_x2apic();
    sti();
    measure_memory();
    measure_interrupts();
    measure_wake_up();
}
