// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// judges: a fault while INT n, an interrupt or an NMI is delivered is an exception by itself, never a double fault.
// also on: pc_vmx_apicv
#include "devices.hpp"
#include "gates.hpp"

using namespace payload;

namespace {
constexpr unsigned software{0x60}, external{0x50};

struct event {
    char const* name;
    unsigned vector;
    void (*raise)();
};
event const all[]{
    {"INT n", software, [] { asm volatile("int $0x60"); }},
    {"an interrupt", external,
     [] {
         lapic::send(0x40000 | external);
         sti();
         wait_ms(1);
     }},
    {"an NMI", vector::nmi,
     [] {
         lapic::send(0x400, lapic::own_id());
         wait_ms(1);
     }},
};
} // namespace

void payload::run() {
    lapic::enable();
    (void)tsc_per_ms();
    set_handler(vector::nmi, [](frame&) {});
    for (auto const& first : all) {
        for (unsigned how{}; how != breakages; ++how) {
            auto const before = count_of(first.vector);
            {
                broken_gate const broken{first.vector, static_cast<breakage>(how)};
                auto const got = attempt(first.raise);
                if (got.vector != breakage_vectors[how]) {
                    print(first.name);
                    print(": ");
                    expect_equal(got.vector, breakage_vectors[how], breakage_names[how]);
                }
                if (got.vector == vector::page_fault)
                    expect_equal(got.cr2, broken.fault_address(), "CR2");
            }
            expect_equal(count_of(first.vector), before, "arrivals at the broken gate");
            if (first.vector == external) {
                // It was accepted, and is not delivered again.
                expect(lapic::bit(lapic::isr, external), "the interrupt is in service");
                lapic::end();
                expect(not lapic::bit(lapic::irr, external), "and requested no more");
                set_handler(external, lapic::acknowledge);
            }
            expect_exception(none, first.raise, "the same event through a whole gate");
            cli();
            expect_equal(count_of(first.vector), before + 1, "arrivals at the whole gate");
        }
    }
}
