// SPDX-License-Identifier: BSD-2-Clause
#include "processors.hpp"

#include "address_space.hpp"
#include "instructions.hpp"
#include "text.hpp"
#include "trap.hpp"

#include <hv/address.hpp>
#include <hv/x86/msr.hpp>

#include <array>
#include <cstring>

extern "C" {
extern char const hv_bare_trampoline[];
extern char const hv_bare_trampoline_end[];
std::uint64_t hv_bare_starting_stack{};
hv::bare::processor* hv_bare_starting_processor{};
}

namespace hv::bare {

namespace {

/// Below 1 MiB; nobody's at the time. Put back as it was, unless a processor may still come there.
constexpr std::uint64_t trampoline_page{0x8000};

constinit std::uint64_t address_space_root{};

void become(processor& self) {
    self.self = &self;
    load_descriptor_tables(self.tables, *self.own_stacks);
    write_known_msr(x86::msr::ia32_gs_base, reinterpret_cast<std::uint64_t>(&self));
}

void wait(host const& h, nanoseconds time) {
    for (auto const end = h.now() + time; h.now() < end;)
        asm volatile("pause");
}

/// The counter between two fences: nothing before it is late, nothing behind it early.
auto read_tsc_in_order() -> std::uint64_t {
    asm volatile("lfence" : : : "memory");
    auto const tsc = read_tsc();
    asm volatile("lfence" : : : "memory");
    return tsc;
}

/// Finds out how the counter of a processor that is up differs from this one's.
auto compare_counters(host const& h, processor& one) -> bool {
    constexpr nanoseconds patience{5'000'000'000};
    auto const end = h.now() + patience;
    return one.exchange.compare(read_tsc_in_order, [&] { return h.now() >= end; }, one.compared);
}

/// Takes a step from one standing to the next unless the other side was faster.
auto step(processor& one, standing from, standing to) -> bool {
    return one.stands.compare_exchange_strong(from, to, std::memory_order_acq_rel);
}

/// Starts one processor and waits until it is there. SDM Vol. 3A, "MP Initialization Protocol Algorithm". An emulator
/// may let it run much later.
auto start(host& h, processor& one) -> bool {
    constexpr nanoseconds init_time{10'000'000}, first_time{1'000'000}, patience{2'000'000'000};
    hv_bare_starting_stack = reinterpret_cast<std::uint64_t>(one.own_stacks->main.data()) + stacks::main_size;
    hv_bare_starting_processor = &one;
    auto const up_within = [&](nanoseconds time) {
        for (auto const end = h.now() + time; h.now() < end;) {
            if (one.stands.load(std::memory_order_acquire) != standing::absent)
                return true;
            asm volatile("pause");
        }
        return false;
    };
    h.apic().send_init(one.apic_id);
    wait(h, init_time);
    for (auto const time : std::array{first_time, patience}) {
        h.apic().send_start_up(one.apic_id, trampoline_page >> page_shift);
        if (up_within(time))
            return true;
    }
    return not step(one, standing::absent, standing::left_out);
}

} // namespace

auto host::guard(std::span<stacks> further) -> bool {
    return guard_stacks(memory_, further);
}

void host::join() {
    fpu_.start();
    apic_.join(vector::processor_timer);
}

/// Where trampoline.S arrives.
extern "C" void hv_bare_start_processor(processor& self) {
    auto& h = this_host();
    join_address_space(address_space_root); // those of boot.S map no more than 4 GiB, and no guard pages
    become(self);
    if (not step(self, standing::absent, standing::arrived))
        stop();
    h.join();
    self.exchange.answer(read_tsc_in_order);
    self.tsc_lead = self.compared.ahead;
    while (self.stands.load(std::memory_order_acquire) == standing::arrived)
        asm volatile("pause");
    if (self.stands.load(std::memory_order_relaxed) == standing::counted)
        hv_bare_run_processor(self);
    stop();
}

void serve_calls(processor& self) {
    auto const asked = self.calls.load(std::memory_order_acquire);
    if (asked == self.served.load(std::memory_order_relaxed))
        return;
    write_cr3(read_cr3()); // nothing of the tables is global
    self.served.store(asked, std::memory_order_release);
}

void flush_others(host& h, std::span<processor> up) {
    auto& self = this_processor();
    for (auto& other : up)
        if (&other != &self) {
            other.calls.fetch_add(1, std::memory_order_release);
            h.apic().send_interrupt(other.apic_id, vector::processor_call);
        }
    for (auto& other : up)
        if (&other != &self)
            while (other.served.load(std::memory_order_acquire) != other.calls.load(std::memory_order_relaxed)) {
                serve_calls(self); // it may wait for this one
                asm volatile("pause");
            }
}

auto start_processors(host& h, std::span<processor> all) -> std::size_t {
    address_space_root = read_cr3();
    auto& first = all[0];
    first.apic_id = h.apic().id();
    first.own_stacks = &hv_bare_stacks;
    become(first);
    h.join();
    if (all.size() == 1)
        return 1;

    auto const others = all.size() - 1;
    auto* const place = h.allocate(others * sizeof(stacks), page_size);
    if (place == nullptr)
        return 1;
    std::span const further{static_cast<stacks*>(place), others};
    know_stacks(further);
    if (not h.guard(further)) // while nobody else uses the tables, or memory
        return 1;

    std::array<std::byte, 256> saved;
    auto const size = static_cast<std::size_t>(hv_bare_trampoline_end - hv_bare_trampoline);
    auto* const page = reinterpret_cast<std::byte*>(trampoline_page);
    std::memcpy(saved.data(), page, saved.size());
    std::memcpy(page, hv_bare_trampoline, size);
    std::size_t up{1};
    bool all_came{true};
    for (auto const apic_id : std::span{h.board().processors}.first(h.board().processor_count)) {
        if (apic_id == first.apic_id or up == all.size())
            continue;
        auto& one = all[up];
        one.number = up;
        one.apic_id = apic_id;
        one.own_stacks = &further[up - 1];
        if (start(h, one) and compare_counters(h, one)) {
            ++up;
            continue;
        }
        one.stands.store(standing::left_out, std::memory_order_release);
        text t;
        t << "processor with APIC id ";
        h.log((t.decimal(apic_id) << " does not start").view());
        all_came = false;
        break; // it may come yet, on this stack
    }
    if (all_came)
        std::memcpy(page, saved.data(), saved.size());
    return up;
}

} // namespace hv::bare
