// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "instructions.hpp"
#include "trap.hpp"
#include "tsc_clock.hpp"

#include <hv/address.hpp>
#include <hv/x86/msr.hpp>

#include <cstdint>

namespace hv::bare {

/// This processor's local APIC: interrupts and the timer. SDM Vol. 3A, "Advanced Programmable Interrupt Controller".
class local_apic {
  public:
    /// Switches the APIC on, in x2APIC mode if the processor has it, and masks all it may deliver but NMIs.
    [[gnu::cold]] void start(hpa address) {
        constexpr std::uint32_t has_x2apic{1u << 21}, has_tsc_deadline{1u << 24};
        constexpr std::uint64_t enabled{1u << 11}, x2apic_enabled{1u << 10};
        auto const features = cpuid(1).ecx;
        x2apic_ = (features & has_x2apic) != 0;
        tsc_deadline_ = (features & has_tsc_deadline) != 0;
        registers_ = address;
        auto const base = read_known_msr(x86::msr::ia32_apic_base) | enabled;
        write_known_msr(x86::msr::ia32_apic_base, base);
        if (x2apic_)
            write_known_msr(x86::msr::ia32_apic_base, base | x2apic_enabled);
        write(task_priority, 0);
        write(local_vector_timer, masked);
        write(local_vector_lint0, masked);  // the 8259s, which are masked too
        write(local_vector_lint1, 4u << 8); // NMI
        write(local_vector_error, masked);
        write(spurious_interrupt, 1u << 8 | vector::spurious);
        write(divide_configuration, 0xb); // by 1
    }

    [[nodiscard]] auto is_x2apic() const -> bool { return x2apic_; }
    [[nodiscard]] auto uses_tsc_deadline() const -> bool { return tsc_deadline_; }
    [[nodiscard]] auto id() const -> std::uint32_t {
        return x2apic_ ? read(identification) : read(identification) >> 24;
    }
    void end_of_interrupt() { write(eoi, 0); }

    /// For calibration: lets the timer count down without interrupts, and reads how far it is.
    void count_down() { write(initial_count, UINT32_MAX); }
    [[nodiscard]] auto counted() const -> std::uint32_t { return UINT32_MAX - read(current_count); }

    /// Ends calibration. `frequency` is that of the timer, in Hz.
    void use_timer(std::uint64_t frequency, std::uint64_t tsc_frequency) {
        write(initial_count, 0);
        from_tsc_ = rate::of(frequency, tsc_frequency);
        use_vector(vector::timer);
    }

    /// One interrupt when the TSC has reached `deadline`, or earlier if that is too far away for the counter. At once
    /// if the deadline has passed.
    void interrupt_at(std::uint64_t deadline) {
        if (tsc_deadline_)
            return write_known_msr(x86::msr::ia32_tsc_deadline, deadline);
        auto const now = read_tsc();
        auto const ticks = deadline > now ? from_tsc_(deadline - now) + 1 : 1;
        write(initial_count, ticks > UINT32_MAX ? UINT32_MAX : static_cast<std::uint32_t>(ticks));
    }
    void no_interrupt() {
        if (tsc_deadline_)
            write_known_msr(x86::msr::ia32_tsc_deadline, 0);
        else
            write(initial_count, 0);
    }

    /// The messages of "Interrupt Command Register (ICR)", to the processor with that id.
    void send_interrupt(std::uint32_t to, std::uint8_t which) { send(to, which); }
    void send_nmi(std::uint32_t to) { send(to, 4u << 8); }
    void send_init(std::uint32_t to) { send(to, 5u << 8); }
    /// Starts the processor in real mode at the start of a page below 1 MiB.
    void send_start_up(std::uint32_t to, std::uint8_t page) { send(to, 6u << 8 | page); }

    /// The same on another processor, once the first has calibrated: `start` and the timer.
    void join(std::uint8_t timer_vector) {
        start(registers_);
        use_vector(timer_vector);
    }

  private:
    [[gnu::noinline]] void send(std::uint32_t to, std::uint32_t command) {
        constexpr std::uint32_t assert_level{1u << 14}, pending{1u << 12};
        if (x2apic_) {
            asm volatile("mfence; lfence" : : : "memory"); // WRMSR to x2APIC registers does not wait for stores
            return write_known_msr(x86::msr::x2apic_first + 0x30, std::uint64_t{to} << 32 | command | assert_level);
        }
        while ((read(interrupt_command) & pending) != 0)
            asm volatile("pause");
        write(interrupt_command_high, to << 24);
        write(interrupt_command, command | assert_level);
    }
    void use_vector(std::uint8_t timer_vector) {
        write(local_vector_timer, timer_vector | (tsc_deadline_ ? 2u << 17 : 0u));
        if (tsc_deadline_)
            asm volatile("mfence" : : : "memory"); // the mode before the first deadline
    }

    static constexpr std::uint32_t identification{0x20}, task_priority{0x80}, eoi{0xb0}, spurious_interrupt{0xf0},
        interrupt_command{0x300}, interrupt_command_high{0x310}, local_vector_timer{0x320}, local_vector_lint0{0x350},
        local_vector_lint1{0x360}, local_vector_error{0x370}, initial_count{0x380}, current_count{0x390},
        divide_configuration{0x3e0};
    static constexpr std::uint32_t masked{1u << 16};

    [[nodiscard]] auto at(std::uint32_t offset) const -> std::uint32_t volatile* {
        return reinterpret_cast<std::uint32_t volatile*>(registers_.value + offset);
    }
    [[nodiscard]] auto read(std::uint32_t offset) const -> std::uint32_t {
        return x2apic_ ? static_cast<std::uint32_t>(read_known_msr(x86::msr::x2apic_first + offset / 16)) : *at(offset);
    }
    void write(std::uint32_t offset, std::uint32_t value) {
        if (x2apic_)
            write_known_msr(x86::msr::x2apic_first + offset / 16, value);
        else
            *at(offset) = value;
    }

    hpa registers_{};
    rate from_tsc_{};
    bool x2apic_{false};
    bool tsc_deadline_{false};
};

} // namespace hv::bare
