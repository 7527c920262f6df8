// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// also with: 2 8
// also on: pc_vmx_apicv_smp
// storm: yes
// judges: INIT takes a processor back from whatever it does, and the first start-up IPI behind it starts it afresh.
// reference: no, QEMU's INIT sets CR0.CD and CR0.NW, and it has no x2APIC.
#include "probe.hpp"

using namespace payload;

namespace {

// Where vCPUs take turns, each that computes keeps its processor of the host for a while: then fewer rounds do.
constexpr u32 rounds{1000}, least_rounds{60}, storms{6}, naps{60};
constexpr u64 slow_ms{150}, enough_ms{1500};
constexpr u8 vector_of_trap{0x71}, vector_of_ping{0x72}, vector_of_wait{0x73};
constexpr u8 pages[]{0x20, 0x55, 0x7f}; // for the probe

/// What a processor does when INIT comes.
enum class way : u32 { running, masked, halted, halted_masked, serving, requested, x2apic, ways };

shared_count started[most_processors], settled[most_processors], pings[most_processors], late_nmis;
bool volatile fresh[most_processors];
way volatile next_way[most_processors];
apic_state seen[most_processors];
bool has_x2apic;

void on_ping(frame&) {
    pings[own_number()].add();
    lapic::end();
}
/// Never comes to its EOI.
void on_trap(frame&) {
    settled[own_number()].add();
    while (true) {
        (void)cpuid(0); // an exit: in Bochs a stay that began with interrupts off ends by nothing else
        pause();
    }
}
void on_nmi(frame&) {
    if (fresh[own_number()])
        late_nmis.add();
}

/// Leaves nothing in the APIC as INIT leaves it.
void soil() {
    lapic::enable();
    lapic::write(lapic::ldr, 1u << (24 + own_number()));
    lapic::write(lapic::dfr, 0x0fffffff);
    lapic::write(lapic::lvt_lint0, 0x41);
    lapic::write(lapic::lvt_timer, lapic::masked | lapic::periodic | 0x42);
    lapic::write(lapic::divide, 3);
    lapic::write(lapic::initial_count, 0xfffffff);
    lapic::write(lapic::tpr, 0x20);
}

/// The program of all others, once a start.
void begin() {
    auto const me = own_number();
    fresh[me] = true;
    auto& mine = seen[me];
    mine = state_of_apic();
    if ((mine.base & apic_state::extended) != 0) { // it came so out of x2APIC mode, and goes back
        wrmsr(lapic::base_msr, mine.base & ~(apic_state::extended | apic_state::enabled));
        wrmsr(lapic::base_msr, mine.base & ~apic_state::extended);
    }
    auto const how = next_way[me];
    soil();
    started[me].add();
    switch (how) {
    case way::masked:
        settled[me].add();
        while (true) {
            (void)cpuid(0);
            pause();
        }
    case way::halted:
        settled[me].add();
        while (true)
            asm volatile("sti; hlt");
    case way::halted_masked:
        settled[me].add();
        while (true)
            asm volatile("cli; hlt");
    case way::serving:
        sti();
        lapic::send(ipi::fixed | vector_of_trap, me);
        break;
    case way::requested:
        lapic::send(ipi::fixed | vector_of_wait, me);
        settled[me].add();
        while (true) {
            (void)cpuid(0);
            pause();
        }
    case way::x2apic:
        if (has_x2apic)
            wrmsr(lapic::base_msr, rdmsr(lapic::base_msr) | apic_state::extended);
        [[fallthrough]];
    default:
        settled[me].add();
        sti();
    }
    while (true)
        pause();
}

/// A number of instructions that differs from time to time.
void linger(u32 count) {
    for (u32 i{}; i != count; ++i)
        asm volatile("nop");
}

/// Whether the others still take interrupts and are where they were.
void expect_undisturbed(char const* what) {
    for (u32 id{1}; id != processor_count(); ++id) {
        auto const starts = started[id].get(), before = pings[id].get();
        lapic::send(ipi::fixed | vector_of_ping, id);
        expect(pings[id].reaches(before + 1, 300), what);
        expect_equal(started[id].get(), starts, what);
    }
}

/// Takes one back from what it does, and starts it at that page; a second start-up IPI names another, in vain.
auto restart(u32 id, u32 i) -> bool {
    auto const page = pages[i % 3], other = pages[(i + 1) % 3];
    auto const starts = started[id].get(), settlings = settled[id].get();
    auto const entered = probe_at(other).entered;
    bool const from_x2apic{has_x2apic and starts != 0 and next_way[id] == way::x2apic};
    next_way[id] = static_cast<way>(i / (processor_count() - 1) % static_cast<u32>(way::ways));
    fresh[id] = false;
    lapic::send(ipi::init, id);
    if (i % 4 == 1)
        pass(1);
    lapic::send(ipi::start_up | page, id);
    if (i % 4 == 2)
        (void)started[id].reaches(starts + 1);
    lapic::send(ipi::start_up | other, id);
    if (not started[id].reaches(starts + 1) or not settled[id].reaches(settlings + 1)) {
        print("processor ");
        print_decimal(id);
        print(" in round ");
        print_decimal(i);
        print(": ");
        fail("it does not start again");
        return false;
    }
    expect_equal(probe_at(other).entered, entered, "starts by a second start-up IPI");
    expect_after_init(probe_at(page), page, starts == 0);
    expect_after_init(seen[id], id, from_x2apic);
    return true;
}

} // namespace

void payload::run() {
    auto const n = processor_count();
    lapic::enable();
    has_x2apic = (cpuid(1).ecx >> 21 & 1) != 0;
    set_handler(vector_of_ping, on_ping);
    set_handler(vector_of_trap, on_trap);
    set_handler(vector::nmi, on_nmi);
    place_start_up_code();
    sti();
    for (auto const page : pages)
        place_probe(page);
    for (auto& program : processor_programs)
        program = begin;

    auto const slow = rdtsc() + slow_ms * tsc_per_ms(), end = rdtsc() + enough_ms * tsc_per_ms();
    u32 done{};
    for (; done != rounds and (done < least_rounds or rdtsc() < (done == least_rounds ? slow : end)); ++done)
        if (not restart(1 + done % (n - 1), done))
            return;
    print_decimal(done);
    print(" rounds\n");

    // All are restarted into plain running; what is no start of theirs leaves them alone.
    for (u32 id{1}; id != n; ++id)
        if (not restart(id, 0))
            return;
    expect_undisturbed("after the storm");
    auto const entered = probe_at(pages[1]).entered;
    lapic::send(ipi::start_up | ipi::to_others | pages[1]);
    pass(2);
    expect_undisturbed("a start-up IPI without INIT");
    lapic::send(0x8500 | ipi::to_others); // level-triggered, de-asserted
    pass(2);
    expect_undisturbed("INIT level de-assert");
    expect_equal(probe_at(pages[1]).entered, entered, "starts without INIT");

    // What came before INIT is over with it.
    for (u32 i{}; i != storms; ++i)
        for (u32 id{1}; id != n; ++id) {
            auto const starts = started[id].get();
            fresh[id] = false;
            lapic::send(ipi::fixed | vector_of_ping, id);
            lapic::send(ipi::nmi, id);
            lapic::send(ipi::init, id);
            lapic::send(ipi::start_up | pages[0], id);
            if (not started[id].reaches(starts + 1))
                return fail("it does not start behind an NMI and INIT");
            expect_after_init(seen[id], id, false);
        }
    expect_undisturbed("after NMIs before INIT");
    expect_equal(late_nmis.get() + probe_at(pages[0]).nmis, 0, "NMIs that came before INIT and were taken behind it");

    // All at once.
    for (u32 i{}; i != storms; ++i) {
        auto const starts = started[1].get();
        for (u32 id{1}; id != n; ++id)
            started[id].set(starts);
        lapic::send(ipi::init | ipi::to_others);
        lapic::send(ipi::start_up | ipi::to_others | pages[i % 3]);
        for (u32 id{1}; id != n; ++id)
            if (not started[id].reaches(starts + 1))
                return fail("not all start again together");
    }
    for (u32 id{1}; id != n; ++id)
        expect_equal(started[id].get(), started[1].get(), "each started as often as the others");

    // While they halt, with interrupts on or off, and while they come to it.
    for (u32 i{}; i != naps; ++i) {
        auto const starts = started[1].get();
        for (u32 id{1}; id != n; ++id)
            next_way[id] = (i + id) % 2 == 0 ? way::halted : way::halted_masked;
        linger(i * 379 % 4099);
        lapic::send(ipi::init | ipi::to_others);
        linger(i % 3 * i);
        lapic::send(ipi::start_up | ipi::to_others | pages[i % 3]);
        for (u32 id{1}; id != n; ++id)
            if (not started[id].reaches(starts + 1))
                return fail("one that halts does not start again");
    }
}
