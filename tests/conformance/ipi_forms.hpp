// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "processors.hpp"

/// IPIs of every form from the first processor to all others, each awaited before the same target gets the next: what
/// is sent arrives, and once. Processors of odd number halt between interrupts, the others spin.
namespace payload::ipi_forms {

inline constexpr u8 vector_sent{0x51}, vector_of_wake_up{0x52};
inline constexpr u64 patience{60'000}; // ms

enum class model : u32 { flat, clusters, x2apic };
inline shared_count ready, wanted, changed;
inline shared_count arrived[most_processors], nmis[most_processors];

/// A form of the interrupt command, and who gets it.
struct form {
    enum class reach { each, others, everyone, self, one };

    char const* name;
    u32 low;
    reach to;
    u32 (*destination)(u32 id); ///< of one processor, or of all that it reaches
};

inline void end_interrupt() {
    either_apic::write(lapic::eoi, 0);
}
inline void on_arrival(frame&) {
    arrived[own_number()].add();
    end_interrupt();
}
inline void on_wake_up(frame&) {
    end_interrupt();
}
/// No NMI interrupts the first instruction of another's handler but one that QEMU delivers twice.
inline void on_nmi(frame& f) {
    auto const& gate = gate_of(vector::nmi);
    if (f.rip != ((gate.low & 0xffff) | (gate.low >> 32 & 0xffff0000)))
        nmis[own_number()].add();
    else
        doubled.add();
}

inline auto flat_bit(u32 id) -> u32 {
    return 1u << id;
}
/// Two processors are a cluster.
inline auto cluster_bit(u32 id) -> u32 {
    return id / 2 << 4 | 1u << id % 2;
}
inline auto x2apic_cluster_bit(u32 id) -> u32 {
    return id >> 4 << 16 | 1u << (id & 15);
}

/// What each processor does for itself.
inline void take(model m) {
    auto const me = own_number();
    if (m == model::x2apic) {
        wrmsr(lapic::base_msr, rdmsr(lapic::base_msr) | 0xc00);
        either_apic::is_x2apic[me] = true;
        return;
    }
    lapic::enable();
    lapic::write(lapic::dfr, m == model::flat ? 0xffffffff : 0x0fffffff);
    lapic::write(lapic::ldr, (m == model::flat ? flat_bit(me) : cluster_bit(me)) << 24);
}

inline void other() {
    bool const halts{own_number() % 2 != 0};
    auto now = model::flat;
    take(now);
    sti();
    ready.add();
    while (true) {
        if (auto const next = static_cast<model>(wanted.get()); next != now) {
            cli();
            take(now = next);
            changed.add();
            sti();
        }
        if (halts)
            asm volatile("hlt");
        else
            asm volatile("pause");
    }
}

/// All of them; those that halt are woken until they have looked.
inline auto change_to(model m) -> bool {
    changed.set(0);
    wanted.set(static_cast<u32>(m));
    bool const done{wait_for(patience, [] {
        for (u32 id{1}; id != processor_count(); ++id)
            either_apic::send(ipi::fixed | vector_of_wake_up, id);
        pass(1);
        return changed.get() == processor_count() - 1;
    })};
    take(m);
    if (not done)
        fail("a processor does not change its APIC's mode");
    return done;
}

inline void report(form const& f, char const* what, shared_count const* counts) {
    print(f.name);
    print(": ");
    fail(what);
    for (u32 id{}; id != processor_count(); ++id) {
        print_decimal(counts[id].get());
        print(id + 1 == processor_count() ? " arrived\n" : ", ");
    }
}

/// Sends until `deliveries` IPIs are to arrive.
inline void judge(form const& f, u32 deliveries) {
    using reach = form::reach;
    auto const processors = processor_count();
    bool const is_nmi{(f.low & 0x700) == 0x400};
    auto* const counts = is_nmi ? nmis : arrived;
    auto const low = is_nmi ? f.low : f.low | vector_sent;
    u32 const first{f.to == reach::each or f.to == reach::others ? 1u : 0u};
    u32 const end{f.to == reach::self ? 1 : processors};
    u32 const at_once{f.to == reach::one ? 1 : end - first};
    u32 sent{};
    for (u32 id{}; id != processors; ++id)
        counts[id].set(0);
    auto const all = [&] {
        u32 sum{};
        for (u32 id{first}; id != end; ++id)
            sum += counts[id].get();
        return sum;
    };
    while (sent * at_once < deliveries) {
        ++sent;
        if (f.to == reach::each)
            for (u32 id{first}; id != end; ++id)
                either_apic::send(low, f.destination(id));
        else
            either_apic::send(low, f.destination(0));
        bool const came{f.to == reach::one ? wait_for(patience, [&] { return all() >= sent; })
                                           : wait_for(patience, [&] {
                                                 for (u32 id{first}; id != end; ++id)
                                                     if (counts[id].get() < sent)
                                                         return false;
                                                 return true;
                                             })};
        if (not came)
            return report(f, "an IPI is lost", counts);
    }
    if (all() != sent * at_once)
        report(f, "more arrive than were sent", counts);
    for (u32 id{}; id != processors; ++id)
        if ((id < first or id >= end) and counts[id].get() != 0)
            report(f, "one arrives that was for others", counts);
    print(f.name);
    print(": ");
    print_decimal(all());
    print("\n");
}

/// Every form, `deliveries` IPIs of each.
inline void judge_all(u32 deliveries) {
    using reach = form::reach;
    constexpr auto nobody = [](u32) { return u32{}; };
    constexpr auto itself = [](u32 id) { return id; };
    constexpr auto flat_all = [](u32) { return (1u << processor_count()) - 1; };
    set_handler(vector_sent, once<on_arrival>);
    set_handler(vector_of_wake_up, on_wake_up);
    set_handler(vector::nmi, on_nmi);
    take(model::flat);
    if (not start_all(other, ready))
        return;
    sti();
    judge({"fixed, physical", ipi::fixed, reach::each, itself}, deliveries);
    judge({"logical, flat", ipi::fixed | ipi::logical, reach::each, flat_bit}, deliveries);
    judge({"logical, flat, all at once", ipi::fixed | ipi::logical, reach::everyone, flat_all}, deliveries);
    judge({"to all others", ipi::fixed | ipi::to_others, reach::others, nobody}, deliveries);
    judge({"to all", ipi::fixed | ipi::to_all, reach::everyone, nobody}, deliveries);
    judge({"to itself", ipi::fixed | ipi::to_self, reach::self, nobody}, deliveries);
    judge({"lowest priority", ipi::lowest_priority | ipi::logical, reach::one, flat_all}, deliveries);
    judge({"NMI, physical", ipi::nmi, reach::each, itself}, deliveries);
    judge({"NMI to all others", ipi::nmi | ipi::to_others, reach::others, nobody}, deliveries);
    if (not change_to(model::clusters))
        return;
    judge({"logical, clusters", ipi::fixed | ipi::logical, reach::each, cluster_bit}, deliveries);
    if (not change_to(model::x2apic))
        return;
    judge({"x2APIC, physical", ipi::fixed, reach::each, itself}, deliveries);
    judge({"x2APIC, clusters", ipi::fixed | ipi::logical, reach::each, x2apic_cluster_bit}, deliveries);
    judge({"x2APIC, to all others", ipi::fixed | ipi::to_others, reach::others, nobody}, deliveries);
    print("twice by QEMU: ");
    print_decimal(doubled.get());
    print("\n");
}

} // namespace payload::ipi_forms
