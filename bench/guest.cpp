// SPDX-License-Identifier: BSD-2-Clause
// The operations of one processor.
#include "samples.hpp"

using namespace payload;

extern "C" {
void eoi_handler();
void timer_handler();
extern payload::u64 volatile timer_tsc;
payload::u64 volatile timer_tsc{};
}

asm(R"(
        .text
eoi_handler:
        push %rax; push %rcx; push %rdx
        mov $0x80b, %ecx
        xor %eax, %eax
        xor %edx, %edx
        wrmsr
        pop %rdx; pop %rcx; pop %rax
        iretq
timer_handler: // the TSC first, then the end of the interrupt
        push %rax; push %rcx; push %rdx
        rdtsc
        mov %eax, timer_tsc(%rip)
        mov %edx, timer_tsc+4(%rip)
        mov $0x80b, %ecx
        xor %eax, %eax
        xor %edx, %edx
        wrmsr
        pop %rdx; pop %rcx; pop %rax
        iretq
)");

namespace {

constexpr unsigned latencies{200};
constexpr unsigned eoi_vector{0x40}, timer_vector{0x41};
constexpr u32 apic_base{0x1b}, x2apic_id{0x802}, spurious{0x80f}, timer_entry{0x832}, deadline{0x6e0}, pat{0x277};

#define WRITE_MSR_RDI(index) "mov $" index ", %%ecx\n\tmov %%edi, %%eax\n\tmov %%rdi, %%rdx\n\tshr $32, %%rdx\n\twrmsr"
#define WRITE_MSR_0(index) "mov $" index ", %%ecx\n\txor %%eax, %%eax\n\txor %%edx, %%edx\n\twrmsr"

/// Which of the two instructions for a hypercall there is.
auto is_of_intel() -> bool {
    constexpr u32 genu{0x756e'6547};
    u32 eax{0}, ebx, ecx, edx;
    asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
    return ebx == genu;
}

void measure_instructions() {
    BENCH("empty", 0, "", 0);
    BENCH("nop1000", 0, ".rept 1000\n\tnop\n\t.endr", 0);
}

void measure_cpuid_and_msrs() {
    BENCH("cpuid_leaf0", 1, "xor %%eax, %%eax\n\tcpuid", 0);
    BENCH("cpuid_leaf1", 1, "mov $1, %%eax\n\tcpuid", 0);
    BENCH("cpuid_leaf80000008", 2, "mov $0x80000008, %%eax\n\txor %%ecx, %%ecx\n\tcpuid", 0);
    BENCH("cpuid_leaf40000000", 2, "mov $0x40000000, %%eax\n\txor %%ecx, %%ecx\n\tcpuid", 0);
    BENCH("rdmsr_tsc_adjust_3b", 1, "mov $0x3b, %%ecx\n\trdmsr", 0);
    BENCH("rdmsr_misc_enable_1a0", 1, "mov $0x1a0, %%ecx\n\trdmsr", 0);
    auto const misc_enable = rdmsr(0x1a0);
    BENCH("wrmsr_misc_enable_1a0", 4, WRITE_MSR_RDI("0x1a0"), misc_enable);
    BENCH("rdmsr_apic_base_1b", 1, "mov $0x1b, %%ecx\n\trdmsr", 0);
    auto const memory_types = rdmsr(pat);
    BENCH("wrmsr_pat_277", 4, WRITE_MSR_RDI("0x277"), memory_types);
    if (is_of_intel())
        BENCH("vmmcall_unknown", 1, "mov $0x7777, %%eax\n\tvmcall", 0);
    else
        BENCH("vmmcall_unknown", 1, "mov $0x7777, %%eax\n\tvmmcall", 0);
}

void measure_ports() {
    BENCH("in_61_speaker", 0, "in $0x61, %%al", 0);
    BENCH("in_40_pit", 0, "in $0x40, %%al", 0);
    BENCH("out_43_pit_latch", 1, "mov $0, %%al\n\tout %%al, $0x43", 0);
    BENCH("in_21_pic", 0, "in $0x21, %%al", 0);
    BENCH("out_21_pic", 1, "mov $0xff, %%al\n\tout %%al, $0x21", 0);
}

void measure_xapic() {
    BENCH("xapic_rd_version", 0, "mov (%%rdi), %%eax", 0xfee00030);
    BENCH("xapic_rd_tpr", 0, "mov (%%rdi), %%eax", 0xfee00080);
    BENCH("xapic_wr_tpr", 1, "xor %%eax, %%eax\n\tmov %%eax, (%%rdi)", 0xfee00080);
    BENCH("xapic_wr_eoi", 1, "xor %%eax, %%eax\n\tmov %%eax, (%%rdi)", 0xfee000b0);
}

void measure_x2apic() {
    wrmsr(apic_base, rdmsr(apic_base) | 0xc00);
    wrmsr(spurious, 0x1ff);
    BENCH("x2apic_rd_id_802", 1, "mov $0x802, %%ecx\n\trdmsr", 0);
    BENCH("x2apic_rd_tpr_808", 1, "mov $0x808, %%ecx\n\trdmsr", 0);
    BENCH("x2apic_wr_tpr_808", 3, WRITE_MSR_0("0x808"), 0);
    BENCH("x2apic_eoi_80b_none", 3, WRITE_MSR_0("0x80b"), 0);
    sti();
    BENCH("self_ipi_83f_irq_eoi", 3, WRITE_MSR("0x83f", "0x40"), 0);
    auto const id = rdmsr(x2apic_id);
    BENCH("self_ipi_icr830_irq_eoi", 4, "mov $0x830, %%ecx\n\tmov $0x40, %%eax\n\tmov %%edi, %%edx\n\tnop\n\twrmsr",
          id);
    // The interrupt that ends HLT is pending already.
    BENCH("cli_selfipi_sti_hlt_irq_eoi", 6, "cli\n\t" WRITE_MSR("0x83f", "0x40") "\n\tsti\n\thlt", 0);
    BENCH("cli_selfipi_sti_irqwindow_eoi", 6, "cli\n\t" WRITE_MSR("0x83f", "0x40") "\n\tsti\n\tnop", 0);
}

void measure_deadlines() {
    constexpr u32 deadline_mode{0x40000};
    wrmsr(timer_entry, deadline_mode | timer_vector);
    BENCH("wrmsr_tscdeadline_0", 3, WRITE_MSR_0("0x6e0"), 0);
    BENCH("wrmsr_tscdeadline_far", 3, "mov $0x6e0, %%ecx\n\txor %%eax, %%eax\n\tmov $0x7fffff, %%edx\n\twrmsr", 0);
    wrmsr(deadline, 0);
    for (unsigned round{}; round != 2; ++round) {
        bool const halted{round == 0};
        begin_samples();
        for (unsigned i{}; i != latencies; ++i) {
            cli();
            timer_tsc = 0;
            auto const due = rdtsc() + 200'000;
            wrmsr(deadline, due);
            while (timer_tsc == 0)
                if (halted)
                    asm volatile("sti; hlt; cli" ::: "memory");
                else
                    asm volatile("sti; pause; nop; cli" ::: "memory"); // QEMU: PAUSE in the shadow of STI prolongs it
            sample_of[i] = static_cast<u32>(timer_tsc - due);
            sti();
        }
        report(halted ? "timer_latency_hlt" : "timer_latency_spinning", 0, latencies);
    }
}

/// Pages from 16 MiB on were not touched before.
void measure_first_touch() {
    u64 page{16u << 20};
    for (unsigned i{}; i != warm_up; ++i, page += 4096)
        (void)SAMPLE("movb $1, (%%rdi)", page);
    begin_samples();
    for (auto& s : sample_of) {
        s = SAMPLE("movb $1, (%%rdi)", page);
        page += 4096;
    }
    report("npf_first_touch_write", 0, samples);
    page += 2u << 20;
    begin_samples();
    for (auto& s : sample_of) {
        s = SAMPLE("movb (%%rdi), %%al", page);
        page += 4096;
    }
    report("npf_first_touch_read", 0, samples);
}

} // namespace

void payload::run() {
    set_entry(eoi_vector, eoi_handler);
    set_entry(timer_vector, timer_handler);
    measure_instructions();
    measure_cpuid_and_msrs();
    measure_ports();
    measure_xapic();
    measure_x2apic();
    measure_deadlines();
    measure_first_touch();
}
