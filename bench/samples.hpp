// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <codegen/exit_trace/operation_marks.hpp>
#include <tests/conformance/payload.hpp>

/// What one operation of a guest costs, counted by the guest's own TSC: where an emulator advances it by one for each
/// instruction, as QEMU does under -icount shift=0, the numbers are exact.
///
/// A sample is RDTSC, MOV, the operation, RDTSC; the first two are subtracted. What stays counts the operation's own
/// set-up instructions, those of its interrupt handlers, and everything that the hypervisor executed.
namespace payload {

inline constexpr unsigned warm_up{50}, samples{1000};
inline constexpr u32 own_instructions{2}; // RDTSC and MOV

inline u32 sample_of[samples];

inline void sort(unsigned count) {
    for (unsigned gap{count / 2}; gap != 0; gap /= 2)
        for (unsigned i{gap}; i < count; ++i)
            for (unsigned j{i}; j >= gap and sample_of[j - gap] > sample_of[j]; j -= gap) {
                auto const other = sample_of[j];
                sample_of[j] = sample_of[j - gap];
                sample_of[j - gap] = other;
            }
}

/// NOPs for everyone but hv-exit-trace, which counts by them.
inline void begin_samples() {
    asm volatile("nopl %c0(%%rax)" : : "i"(hv::operation_marks::begin));
}
inline void resume_samples() {
    asm volatile("nopl %c0(%%rax)" : : "i"(hv::operation_marks::again));
}
inline void end_samples() {
    asm volatile("nopl %c0(%%rax)" : : "i"(hv::operation_marks::end));
}

/// Prints the first `count` samples of an operation; `set_up` instructions come before the one that exits.
inline void report(char const* name, unsigned set_up, unsigned count) {
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

/// A gate without anything in between.
inline void set_entry(unsigned vector, void (*function)()) {
    auto const address = reinterpret_cast<u64>(function);
    gate_of(vector) = {(address & 0xffff) | u64{code64} << 16 | 0x8e00ull << 32 | (address >> 16 & 0xffff) << 48,
                       address >> 32};
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

} // namespace payload
