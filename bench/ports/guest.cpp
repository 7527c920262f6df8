// SPDX-License-Identifier: BSD-2-Clause
// What IN costs on each of the byte ports that there are: the first, the last, the worst, and a port of nobody.
#include <tests/conformance/payload.hpp>

using namespace payload;

namespace {

constexpr u16 first_port{0x1000}, distance{4}, nobodys_port{0xfff0};
constexpr u8 of_nobody{0xff};

/// Instructions from just before IN to just behind it, and the one that names the port.
auto cost_of(u16 port) -> u64 {
    constexpr u32 own_instructions{2}; // RDTSC and MOV
    constexpr unsigned samples{20};
    u32 least{~0u};
    for (unsigned i{}; i != samples; ++i) {
        u32 net;
        u64 rdi{port};
        asm volatile("rdtsc\n\tmov %%eax, %%esi\n\tmov %%edi, %%edx\n\tin %%dx, %%al\n\trdtsc\n\tsub %%esi, %%eax"
                     : "=a"(net), "+D"(rdi)
                     :
                     : "rdx", "rsi", "memory", "cc");
        least = net - own_instructions < least ? net - own_instructions : least;
    }
    return least;
}

void report(char const* name, u64 cost, u64 devices) {
    print("bench: ");
    print(name);
    constexpr char const* columns[]{" min ", " median ", " p90 ", " max "};
    for (auto const* column : columns) {
        print(column);
        print_decimal(cost);
    }
    print(" setup 1 n ");
    print_decimal(devices);
    print("\n");
}

} // namespace

void payload::run() {
    u16 count{};
    u64 worst{};
    for (; in8(static_cast<u16>(first_port + distance * count)) != of_nobody; ++count) {
        auto const cost = cost_of(static_cast<u16>(first_port + distance * count));
        worst = cost > worst ? cost : worst;
    }
    report("first", cost_of(first_port), count);
    report("last", cost_of(static_cast<u16>(first_port + distance * (count - 1))), count);
    report("worst", worst, count);
    report("nobody", cost_of(nobodys_port), count);
}
