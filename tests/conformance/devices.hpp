// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "payload.hpp"

/// The devices of the board, as a driver sees them.
namespace payload {

/// The 8259 pair: lines 0-15 at vectors 0x20-0x2f, all masked until asked for.
namespace pic {
inline constexpr u8 first_vector{0x20};

inline void set_masks(u16 mask) {
    out8(0x21, static_cast<u8>(mask));
    out8(0xa1, static_cast<u8>(mask >> 8));
}
inline void initialise() {
    out8(0x20, 0x11);
    out8(0xa0, 0x11);
    out8(0x21, first_vector);
    out8(0xa1, first_vector + 8);
    out8(0x21, 4);
    out8(0xa1, 2);
    out8(0x21, 1);
    out8(0xa1, 1);
    set_masks(0xffff);
}
inline void unmask(unsigned line) {
    if (line < 8)
        out8(0x21, static_cast<u8>(in8(0x21) & ~(1u << line)));
    else {
        out8(0x21, static_cast<u8>(in8(0x21) & ~4u));
        out8(0xa1, static_cast<u8>(in8(0xa1) & ~(1u << (line - 8))));
    }
}
inline void end(unsigned line) {
    if (line >= 8)
        out8(0xa0, 0x20);
    out8(0x20, 0x20);
}
} // namespace pic

/// The 8254.
namespace pit {
inline constexpr u64 frequency{1'193'182};

inline void start(unsigned channel, unsigned mode, u16 count) {
    out8(0x43, static_cast<u8>(channel << 6 | 0x30 | mode << 1));
    out8(static_cast<u16>(0x40 + channel), static_cast<u8>(count));
    out8(static_cast<u16>(0x40 + channel), static_cast<u8>(count >> 8));
}
/// Channel 0 in mode 0 without a count: quiet.
inline void stop() {
    out8(0x43, 0x30);
}

/// The count of a channel now.
inline auto latched(unsigned channel) -> u16 {
    out8(0x43, static_cast<u8>(channel << 6));
    auto const low = in8(static_cast<u16>(0x40 + channel));
    return static_cast<u16>(low | in8(static_cast<u16>(0x40 + channel)) << 8);
}
} // namespace pit

/// A reading of a clock and the time by the TSC, both from the same moment: somebody may take this processor away
/// between two instructions, so the tightest of many tries counts.
template <typename Value>
struct moment {
    u64 tsc;
    Value value;
};
template <typename Read>
auto at_one_moment(Read&& read) -> moment<decltype(read())> {
    moment<decltype(read())> best{};
    u64 width{~u64{}};
    for (unsigned i{}; i != 20; ++i) {
        auto const begin = rdtsc();
        auto const value = read();
        auto const end = rdtsc();
        if (end - begin < width) {
            width = end - begin;
            best = {begin + width / 2, value};
        }
    }
    return best;
}

/// The registers of ACPI's fixed hardware.
namespace pm {
inline constexpr u16 event{0x600}, control{0x604}, timer{0x608};
inline constexpr u64 frequency{3'579'545};
inline constexpr u32 ticks_mask{0xffffff}; ///< 24 bits are always there
} // namespace pm

/// TSC ticks in a millisecond, measured once against the ACPI timer, or the 8254 where there is none.
inline auto tsc_per_ms() -> u64 {
    static u64 value;
    if (value != 0)
        return value;
    auto const measure = [](auto read, u64 mask, u64 frequency) {
        auto const a = at_one_moment(read);
        while (((read() - a.value) & mask) < frequency / 50)
            pause();
        auto const b = at_one_moment(read);
        return (b.tsc - a.tsc) * frequency / ((b.value - a.value) & mask) / 1000;
    };
    if (in32(pm::timer) != 0xffffffff) {
        value = measure([] { return u64{in32(pm::timer)}; }, pm::ticks_mask, pm::frequency);
    } else {
        out8(0x61, static_cast<u8>((in8(0x61) & 0xfc) | 1)); // gate on, speaker off
        pit::start(2, 2, 0);
        value = measure([] { return u64{0} - pit::latched(2); }, 0xffff, pit::frequency);
    }
    return value;
}

/// Waits until `condition()` holds; false after that many milliseconds. Takes interrupts meanwhile if they are on.
template <typename Condition>
auto wait_until(u64 ms, Condition&& condition) -> bool {
    auto const limit = ms * tsc_per_ms();
    auto const begin = rdtsc();
    while (not condition())
        if (rdtsc() - begin > limit)
            return false;
    return true;
}
inline void wait_ms(u64 ms) {
    (void)wait_until(ms, [] { return false; });
}

/// The local APIC in xAPIC mode.
namespace lapic {
inline constexpr u64 base{0xfee00000};
inline constexpr u32 base_msr{0x1b};
inline constexpr u64 id{0x20}, version{0x30}, tpr{0x80}, ppr{0xa0}, eoi{0xb0}, ldr{0xd0}, dfr{0xe0}, svr{0xf0},
    isr{0x100}, tmr{0x180}, irr{0x200}, esr{0x280}, icr_low{0x300}, icr_high{0x310}, lvt_timer{0x320}, lvt_lint0{0x350},
    lvt_lint1{0x360}, lvt_error{0x370}, initial_count{0x380}, current_count{0x390}, divide{0x3e0};
inline constexpr u32 masked{1u << 16}, periodic{1u << 17};
inline constexpr u8 spurious_vector{0xff};

inline auto read(u64 offset) -> u32 {
    return mmio_read<u32>(base + offset);
}
inline void write(u64 offset, u32 value) {
    mmio_write<u32>(base + offset, value);
}
inline void end() {
    write(eoi, 0);
}
inline void enable() {
    write(svr, 0x100u | spurious_vector);
    write(tpr, 0);
}
inline void acknowledge(frame&) {
    end();
}
inline auto own_id() -> u32 {
    return read(id) >> 24;
}
inline void send(u32 low, u32 destination = 0) {
    write(icr_high, destination << 24);
    write(icr_low, low);
}
inline auto bit(u64 registers, unsigned vector) -> bool {
    return (read(registers + vector / 32 * 0x10) >> (vector % 32) & 1) != 0;
}
} // namespace lapic

/// The I/O APIC.
namespace ioapic {
inline constexpr u64 base{0xfec00000};
inline constexpr u32 masked{1u << 16}, level{1u << 15}, remote_irr{1u << 14};

inline auto read(u8 index) -> u32 {
    mmio_write<u32>(base, index);
    return mmio_read<u32>(base + 0x10);
}
inline void write(u8 index, u32 value) {
    mmio_write<u32>(base, index);
    mmio_write<u32>(base + 0x10, value);
}
inline auto pins() -> unsigned {
    return (read(1) >> 16 & 0xff) + 1;
}
inline auto entry(unsigned pin) -> u32 {
    return read(static_cast<u8>(0x10 + 2 * pin));
}
/// Sends a pin to this processor; `low` is the lower half of its redirection entry.
inline void route(unsigned pin, u32 low) {
    write(static_cast<u8>(0x11 + 2 * pin), lapic::own_id() << 24);
    write(static_cast<u8>(0x10 + 2 * pin), low);
}
} // namespace ioapic

/// The HPET.
namespace hpet {
inline constexpr u64 base{0xfed00000};
inline constexpr u64 capabilities{0}, configuration{0x10}, status{0x20}, counter{0xf0};
inline constexpr u64 level{2}, interrupt{4}, periodic{8}, set_value{0x40};

inline auto read(u64 offset) -> u64 {
    return mmio_read<u64>(base + offset);
}
inline void write(u64 offset, u64 value) {
    mmio_write<u64>(base + offset, value);
}
inline auto frequency() -> u64 {
    return 1'000'000'000'000'000 / (read(capabilities) >> 32);
}
inline auto configuration_of(unsigned timer) -> u64 {
    return 0x100 + 0x20 * timer;
}
inline auto comparator_of(unsigned timer) -> u64 {
    return 0x108 + 0x20 * timer;
}

/// Sends timer 0 to the highest pin that it can reach and the I/O APIC has; `low` is the lower half of the entry there.
inline auto route(u32 low) -> unsigned {
    auto const routes = read(configuration_of(0)) >> 32;
    auto pin = ioapic::pins();
    while (pin != 0 and (routes >> --pin & 1) == 0) {
    }
    ioapic::route(pin, low);
    return pin;
}
/// Starts the counter at 0, and timer 0 with `how` of its configuration: at `ticks`, or every `ticks` if periodic.
inline void start(unsigned pin, u64 how, u64 ticks) {
    write(configuration, 0);
    write(counter, 0);
    write(configuration_of(0), u64{pin} << 9 | interrupt | how);
    write(comparator_of(0), ticks);
    if ((how & periodic) != 0)
        write(comparator_of(0), ticks); // the first one was the comparator, as set_value said
    write(configuration, 1);
}
} // namespace hpet

/// The real-time clock.
namespace rtc {
inline auto read(u8 index) -> u8 {
    out8(0x70, index);
    return in8(0x71);
}
inline void write(u8 index, u8 value) {
    out8(0x70, index);
    out8(0x71, value);
}
} // namespace rtc

} // namespace payload
