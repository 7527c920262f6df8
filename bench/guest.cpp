// SPDX-License-Identifier: BSD-2-Clause
// What one operation of a guest costs, counted by the guest's own TSC: where an emulator advances it by one for each
// instruction, as QEMU does under -icount shift=0, the numbers are exact.
//
// A sample is RDTSC, MOV, the operation, RDTSC; the first two are subtracted. What stays counts the operation's own
// set-up instructions, those of its interrupt handlers, and everything that the hypervisor executed. Names and
// sequences are those of peer/guest.c, which runs the same operations on KVM.
#include <codegen/exit_trace/operation_marks.hpp>
#include <tests/conformance/payload.hpp>

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

constexpr unsigned warm_up{50}, samples{1000}, latencies{200};
constexpr u32 own_instructions{2}; // RDTSC and MOV
constexpr unsigned eoi_vector{0x40}, timer_vector{0x41};
constexpr u32 apic_base{0x1b}, x2apic_id{0x802}, spurious{0x80f}, timer_entry{0x832}, deadline{0x6e0}, pat{0x277};

u32 sample_of[samples];

void sort(unsigned count) {
    for (unsigned gap{count / 2}; gap != 0; gap /= 2)
        for (unsigned i{gap}; i < count; ++i)
            for (unsigned j{i}; j >= gap and sample_of[j - gap] > sample_of[j]; j -= gap) {
                auto const other = sample_of[j];
                sample_of[j] = sample_of[j - gap];
                sample_of[j - gap] = other;
            }
}

/// NOPs for everyone but hv-exit-trace, which counts by them.
void begin_samples() {
    asm volatile("nopl %c0(%%rax)" : : "i"(hv::operation_marks::begin));
}
void end_samples() {
    asm volatile("nopl %c0(%%rax)" : : "i"(hv::operation_marks::end));
}

void report(char const* name, unsigned set_up, unsigned count) {
    end_samples();
    sort(count);
    struct {
        char const* what;
        u64 value;
    } const columns[]{{" min ", sample_of[0]},
                      {" median ", sample_of[count / 2]},
                      {" p90 ", sample_of[count * 9 / 10]},
                      {" max ", sample_of[count - 1]},
                      {" setup ", set_up},
                      {" n ", count}};
    print("bench: ");
    print(name);
    for (auto const& c : columns) {
        print(c.what);
        print_decimal(c.value);
    }
    print("\n");
}

// An operation is a sequence of instructions, fixed when this is compiled: a macro can put it between the two readings
// without a call. RDI holds its argument.
#define SAMPLE(operation, argument)                                                                                    \
    ([](u64 rdi) {                                                                                                     \
        u32 net;                                                                                                       \
        asm volatile("rdtsc\n\tmov %%eax, %%esi\n\t" operation "\n\trdtsc\n\tsub %%esi, %%eax"                         \
                     : "=a"(net), "+D"(rdi)                                                                            \
                     :                                                                                                 \
                     : "rbx", "rcx", "rdx", "rsi", "memory", "cc");                                                    \
        return net - own_instructions;                                                                                 \
    }(argument))

#define BENCH(name, set_up, operation, argument)                                                                       \
    do {                                                                                                               \
        for (unsigned i{}; i != warm_up; ++i)                                                                          \
            (void)SAMPLE(operation, argument);                                                                         \
        begin_samples();                                                                                               \
        for (auto& s : sample_of)                                                                                      \
            s = SAMPLE(operation, argument);                                                                           \
        report(name, set_up, samples);                                                                                 \
    } while (false)

#define WRITE_MSR(index, value) "mov $" index ", %%ecx\n\tmov $" value ", %%eax\n\txor %%edx, %%edx\n\twrmsr"
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

void set_entry(unsigned vector, void (*function)()) {
    auto const address = reinterpret_cast<u64>(function);
    gate_of(vector) = {(address & 0xffff) | u64{code64} << 16 | 0x8e00ull << 32 | (address >> 16 & 0xffff) << 48,
                       address >> 32};
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
