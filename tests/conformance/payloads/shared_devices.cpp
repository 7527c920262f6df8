// SPDX-License-Identifier: BSD-2-Clause
// expect: 0
// processors: 4
// also with: 2 8
// also on: pc_vmx_apicv_smp
// storm: yes
// judges: All processors use all devices at once: each finds what it left, clocks never go back, no level is lost.
#include "processors.hpp"

using namespace payload;

namespace {

constexpr u32 levels{60}, least_laps{20};
constexpr u8 vector_of_level{0x58};
constexpr u16 uart{0x3f8};
constexpr unsigned uart_pin{4}, first_own_pin{13};

/// What a driver takes around an index and its data.
class guest_lock {
  public:
    void take() {
        while (__atomic_exchange_n(&held_, true, __ATOMIC_ACQUIRE))
            pause();
    }
    void give() { __atomic_store_n(&held_, false, __ATOMIC_RELEASE); }

  private:
    bool held_{};
};
class holding {
  public:
    explicit holding(guest_lock& l) : lock_{l} { lock_.take(); }
    ~holding() { lock_.give(); }
    holding(holding const&) = delete;
    auto operator=(holding const&) -> holding& = delete;

  private:
    guest_lock& lock_;
};
guest_lock pit_lock, rtc_lock, ioapic_lock, pic_lock, uart_lock;

shared_count ready, over, gone, laps[most_processors];
shared_count deliveries, wanted, strangers;
u32 volatile target;
u64 hpet_latest;
u32 pm_latest;
moment<u16> pit_latest;
char const* wrong[most_processors]; // the first thing that each found

void found(bool right, char const* what) {
    if (auto& mine = wrong[own_number()]; not right and mine == nullptr)
        mine = what;
}

/// A level that the handler leaves standing until it came as often as it should.
void on_level(frame&) {
    if (own_number() != target)
        strangers.add();
    if (deliveries.add() >= wanted.get())
        out8(uart + 1, 0);
    lapic::end();
}

void use_clocks() {
    {
        auto const before = __atomic_load_n(&hpet_latest, __ATOMIC_SEQ_CST);
        auto const now = hpet::read(hpet::counter);
        found(now >= before, "the HPET's counter goes back");
        __atomic_store_n(&hpet_latest, now, __ATOMIC_SEQ_CST); // an older one over a newer does no harm
    }
    {
        auto const before = __atomic_load_n(&pm_latest, __ATOMIC_SEQ_CST);
        auto const now = in32(pm::timer) & pm::ticks_mask;
        found(((now - before) & pm::ticks_mask) < pm::ticks_mask / 2, "the ACPI timer goes back");
        __atomic_store_n(&pm_latest, now, __ATOMIC_SEQ_CST);
    }
    holding const held{pit_lock};
    auto const now = moment<u16>{rdtsc(), pit::latched(2)};
    // It goes round in 55 ms, and the host may run others between any two instructions.
    if (rdtsc() - pit_latest.tsc < 20 * tsc_per_ms())
        found(static_cast<u16>(pit_latest.value - now.value) < 0x8000, "the 8254's count goes up");
    pit_latest = now;
}

/// Leaves something in a register of its own, to be found in the next lap.
void use_registers(u32 lap) {
    auto const me = own_number();
    auto const value = static_cast<u8>(lap * 16 + me), last = static_cast<u8>((lap - 1) * 16 + me);
    {
        holding const held{rtc_lock};
        auto const cell = static_cast<u8>(0x40 + me);
        found(lap == 0 or rtc::read(cell) == last, "the clock's memory changed");
        rtc::write(cell, value);
    }
    {
        holding const held{ioapic_lock};
        auto const entry = static_cast<u8>(0x10 + 2 * (first_own_pin + me));
        found(lap == 0 or ioapic::read(entry) == (ioapic::masked | last), "an entry of the I/O APIC changed");
        found(lap == 0 or ioapic::read(entry + 1) == u32{last} << 24, "an I/O APIC's destination changed");
        ioapic::write(entry, ioapic::masked | value);
        ioapic::write(entry + 1, u32{value} << 24);
        // The level's own entry, as it is: that makes and ends no interrupt.
        constexpr u8 of_level{0x10 + 2 * uart_pin};
        ioapic::write(of_level, ioapic::read(of_level));
    }
    {
        holding const held{pic_lock};
        auto const bit = 1u << me;
        auto const mask = in8(0x21);
        found(lap == 0 or (mask & bit) == (lap % 2 != 0 ? bit : 0u), "a mask of the 8259 changed");
        out8(0x21, static_cast<u8>(lap % 2 == 0 ? mask | bit : mask & ~bit));
    }
    {
        holding const held{uart_lock};
        out8(uart + 7, value);
        found(in8(uart + 7) == value, "the UART's scratch register changed");
    }
    auto const timers = (hpet::read(hpet::capabilities) >> 8 & 31) + 1;
    if (me != 0 and me < timers) {
        auto const comparator = hpet::comparator_of(me);
        found(lap == 0 or hpet::read(comparator) == (u64{last} << 24 | 5), "a comparator of the HPET changed");
        hpet::write(comparator, u64{value} << 24 | 5);
    }
}

/// One lap over everything.
void use_all() {
    auto& mine = laps[own_number()];
    use_registers(mine.get());
    use_clocks();
    mine.add();
    pause();
}

void other() {
    lapic::enable();
    sti();
    ready.add();
    while (over.get() == 0)
        use_all();
    cli();
    gone.add();
}

/// Raises the level for one processor, to be served so many times.
auto judge_level(u32 at, u32 times) -> bool {
    {
        holding const held{ioapic_lock};
        ioapic::write(0x11 + 2 * uart_pin, at << 24);
    }
    target = at;
    wanted.set(times);
    deliveries.set(0);
    out8(uart + 1, 2); // transmitter empty: asserted at once
    bool const came{wait_for(2000, [=] { return deliveries.get() >= times; })};
    if (not came) {
        print("processor ");
        print_decimal(at);
        print(": ");
        expect_equal(deliveries.get(), times, "a level is lost, taken so often");
        return false;
    }
    use_all();
    expect_equal(deliveries.get(), times, "a level is doubled, taken so often");
    return true;
}

} // namespace

void payload::run() {
    pic::initialise();
    lapic::enable();
    (void)tsc_per_ms();
    set_handler(vector_of_level, once<on_level>);
    set_handler(lapic::spurious_vector, [](frame&) {});
    out8(0x61, static_cast<u8>((in8(0x61) & 0xfc) | 1)); // gate on, speaker off
    pit::start(2, 2, 0);
    pit_latest = {rdtsc(), pit::latched(2)};
    pm_latest = in32(pm::timer) & pm::ticks_mask;
    hpet::write(hpet::counter, 0);
    hpet::write(hpet::configuration, 1);
    out8(uart + 1, 0);
    out8(uart + 3, 3);
    out8(uart + 4, 8); // OUT2 connects the interrupt
    ioapic::route(uart_pin, vector_of_level | ioapic::level);
    auto const n = processor_count();
    sti();
    if (not start_all(other, ready))
        return;
    for (u32 i{}; i != levels; ++i)
        if (not judge_level(i % n, 1 + i % 3))
            break;
    for (u32 id{1}; id != n; ++id)
        expect(laps[id].reaches(least_laps), "each processor comes around");
    over.set(1);
    expect(gone.reaches(n - 1), "all come to the end");
    cli();
    expect_equal(ioapic::entry(uart_pin) & ioapic::remote_irr, 0, "remote IRR at the end");
    expect_equal(strangers.get(), 0, "levels that came to another processor");
    for (u32 id{}; id != n; ++id)
        if (wrong[id] != nullptr) {
            print("processor ");
            print_decimal(id);
            print(": ");
            fail(wrong[id]);
        }
}
