// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "acpi.hpp"
#include "boot_information.hpp"
#include "console.hpp"
#include "fpu.hpp"
#include "instructions.hpp"
#include "local_apic.hpp"
#include "marks.hpp"
#include "page_allocator.hpp"
#include "stacks.hpp"
#include "tsc_clock.hpp"
#include "uart.hpp"

#include <hv/address.hpp>
#include <hv/host.hpp>
#include <hv/status.hpp>
#include <hv/time.hpp>
#include <hv/x86/registers.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace hv::bare {

extern "C" auto hv_bare_try_read_msr(std::uint32_t index, std::uint64_t* value) -> bool;
extern "C" auto hv_bare_try_write_msr(std::uint32_t index, std::uint64_t value) -> bool;

/// Vectors that belong to a processor where there are several, and every NMI; see parallel_host.hpp. Other images have
/// an empty one.
extern "C" void hv_bare_serve_processor(std::uint8_t which);
/// Before a failure is printed: leaves the present processor as the only one that runs. Likewise.
extern "C" void hv_bare_stop_other_processors();

/// How well the TSC's frequency is known.
struct tsc_report {
    std::uint64_t declared{}; ///< Hz by CPUID leaves 15h and 16h; 0: not declared
    std::uint64_t measured{}; ///< Hz by the reference
    bool by_pm_timer{};       ///< the reference was the ACPI PM timer; otherwise the 8254
    /// A second measurement against the same reference, in millionths of the frequency in use: 1'000'000 is agreement.
    std::uint64_t checked{};
};

/// The kernel under a bare-metal image: one processor, one thread, all memory mapped at its physical address. Models
/// hv::host.
class host {
  public:
    static constexpr bool callers_are_serial{true};
    static constexpr bool keeps_cr2{true}; // its page faults are panics
    static constexpr std::uint8_t panic_status{3};

    using fpu_area = bare::fpu_area;

    /// One processor, one thread: nothing to exclude.
    struct lock {
        void acquire() {}
        void release() {}
    };

    constexpr host() = default;
    host(host const&) = delete;
    auto operator=(host const&) -> host& = delete;

    [[nodiscard]] auto allocate(std::size_t bytes, std::size_t alignment) -> void* {
        return memory_.allocate(bytes, alignment);
    }
    void free(void* memory, std::size_t bytes);
    [[nodiscard]] auto physical(void const* memory) const -> hpa {
        return hpa{reinterpret_cast<std::uint64_t>(memory)};
    }
    [[nodiscard]] auto pointer(hpa address) const -> void* { return reinterpret_cast<void*>(address.value); }

    [[nodiscard]] auto processor() const -> unsigned { return 0; }
    [[nodiscard]] auto processor_count() const -> unsigned { return 1; }
    [[nodiscard]] auto cpuid(std::uint32_t leaf, std::uint32_t subleaf) const -> x86::cpuid_result {
        return bare::cpuid(leaf, subleaf);
    }
    [[nodiscard]] auto read_msr(std::uint32_t index) -> result<std::uint64_t> {
        std::uint64_t value{};
        if (not hv_bare_try_read_msr(index, &value))
            return status::not_found;
        return value;
    }
    auto write_msr(std::uint32_t index, std::uint64_t value) -> status {
        return hv_bare_try_write_msr(index, value) ? status::ok : status::not_permitted;
    }

    [[nodiscard]] auto now() const -> nanoseconds { return clock_.now(); }
    [[nodiscard]] auto tsc() const -> std::uint64_t { return read_tsc(); }
    [[nodiscard]] static constexpr auto tsc_lead() -> std::int64_t { return 0; }
    [[nodiscard]] auto tsc_frequency() const -> std::uint64_t { return clock_.frequency(); }
    [[nodiscard]] auto wall_clock() const -> std::int64_t { return wall_clock_at_zero_ + now(); }

    void arm_timer(nanoseconds when) {
        if (when == armed_) // most calls change nothing
            return;
        armed_ = when;
        if (when == INT64_MAX)
            apic_.no_interrupt();
        else
            apic_.interrupt_at(clock_.tsc_at(when));
    }
    void take_interrupts() { asm volatile("sti; nop; cli" : : : "memory"); } // STI acts after the next instruction
    void idle() { asm volatile("sti; hlt; cli" : : : "memory"); }            // none can come between STI and HLT
    void kick(unsigned) {}
    void wake(unsigned) {}
    [[nodiscard]] static constexpr auto is_woken() -> bool { return false; }
    [[nodiscard]] static constexpr auto should_yield() -> bool { return false; }
    static constexpr void give_way() {}

    void load_guest_fpu(fpu_area& area) { fpu_.load(area); }
    void save_guest_fpu(fpu_area& area) { fpu_.save(area); }

    /// Stream 0 is the console, 1 the second serial port, 2 the emulator's debug port.
    void put(std::uint8_t stream, std::uint8_t byte) {
        if (stream == 0) {
            marks_.put(byte, *this);
            console_.put(byte);
        } else if (stream == 1)
            log_port_.put(byte);
        else if (stream == 2)
            out8(0xe9, byte);
    }
    /// Input of the console, which arrives in `take_interrupts` and `idle`.
    [[nodiscard]] auto get() -> int { return console_.get(); }

    /// Writes a line to the console, marked as the host's.
    void log(std::string_view line);
    /// Prints why and from where, and leaves with panic_status.
    [[noreturn, gnu::cold]] void panic(std::string_view why);

    // What the host offers beyond the concept.

    /// Ends the image: the last byte leaves the serial ports, then the emulator ends.
    [[noreturn, gnu::cold]] void leave(std::uint8_t status);

    [[nodiscard]] auto memory() const -> page_allocator const& { return memory_; }
    [[nodiscard]] auto board() const -> bare::board const& { return board_; }
    [[nodiscard]] auto apic() -> local_apic& { return apic_; }
    [[nodiscard]] auto tsc_report() const -> bare::tsc_report const& { return tsc_report_; }
    /// When lines that a guest marks came by on the console.
    [[nodiscard]] auto marks() const -> console_marks const& { return marks_; }
    [[nodiscard]] auto nmi_count() const -> std::uint64_t { return nmis_; }
    /// Interrupts of the timer at or after their deadline.
    [[nodiscard]] auto timer_interrupt_count() const -> std::uint64_t { return timer_interrupts_; }

    /// For processors.cpp: memory of further stacks, and what another processor does to become one of this host.
    [[nodiscard]] auto guard(std::span<stacks> further) -> bool;
    void join();
    [[nodiscard]] auto clock() const -> tsc_clock const& { return clock_; }
    [[nodiscard]] auto wall_clock_at_zero() const -> std::int64_t { return wall_clock_at_zero_; }

    // For start.cpp and the trap handlers.

    void start(boot_information const& boot);

    void serve_interrupt(std::uint8_t which) {
        if (which == vector::timer) {
            serve_timer();
        } else if (which == vector::serial) {
            console_.receive();
        } else if (which == vector::processor_timer or which == vector::processor_call) {
            hv_bare_serve_processor(which);
        } else if (which < vector::timer or which == vector::spurious) {
            return; // spurious: nothing is in service
        }
        apic_.end_of_interrupt();
    }
    void serve_nmi() {
        hv_bare_serve_processor(vector::nmi);
        ++nmis_;
    }
    /// True for the first of nested failures: the second would print for ever.
    [[nodiscard]] auto begin_failure() -> bool {
        hv_bare_stop_other_processors();
        return not std::exchange(failing_, true);
    }

  private:
    void start_clocks();

    /// The counter of the local APIC may have been too short for the deadline, or a little fast: then it goes on.
    void serve_timer() {
        if (armed_ != INT64_MAX and clock_.now() < armed_)
            return apic_.interrupt_at(clock_.tsc_at(armed_));
        ++timer_interrupts_;
        armed_ = INT64_MAX;
    }

    console console_{};
    console_marks marks_{};
    uart log_port_{0x2f8};
    page_allocator memory_{};
    tsc_clock clock_{};
    std::int64_t wall_clock_at_zero_{0};
    nanoseconds armed_{INT64_MAX};
    local_apic apic_{};
    fpu_switch fpu_{};
    bare::board board_{};
    bare::tsc_report tsc_report_{};
    std::uint64_t nmis_{0};
    std::uint64_t timer_interrupts_{0};
    bool failing_{false};
};
static_assert(hv::host<host>);

/// The only one there is.
[[nodiscard]] auto this_host() -> host&;

} // namespace hv::bare
