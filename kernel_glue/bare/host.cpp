// SPDX-License-Identifier: BSD-2-Clause
#include "host.hpp"

#include "address_space.hpp"
#include "backtrace.hpp"
#include "calibration.hpp"
#include "cmos_clock.hpp"
#include "descriptor_tables.hpp"
#include "interrupt_controllers.hpp"
#include "reference_clock.hpp"
#include "text.hpp"
#include "trap.hpp"

#include <hv/x86/exception.hpp>

namespace hv::bare {

void host::free(void* memory, std::size_t bytes) {
    if (not memory_.free(memory, bytes))
        panic("memory was freed that is free");
}

void host::log(std::string_view line) {
    auto const print = [&](std::string_view s) {
        for (char const c : s)
            console_.put(static_cast<std::uint8_t>(c));
    };
    print("hv: ");
    print(line);
    print("\r\n");
}

void host::panic(std::string_view why) {
    if (begin_failure()) {
        log("panic:");
        log(why);
        log("backtrace:");
        print_callers(*this, reinterpret_cast<std::uint64_t>(__builtin_frame_address(0)));
    }
    leave(panic_status);
}

void host::leave(std::uint8_t status) {
    console_.drain();
    log_port_.drain();
    out8(0xf4, status); // QEMU's isa-debug-exit; the rest is for who has no exit status
    text t;
    t << "left with status ";
    log(t.decimal(status).view());
    console_.drain();
    for (char const c : std::string_view{"Shutdown"}) // Bochs
        out8(0x8900, static_cast<std::uint8_t>(c));
    stop();
}

[[gnu::cold]] void host::start(boot_information const& boot) {
    console_.start();
    (void)log_port_.start();
    load_descriptor_tables();
    fpu_.start();

    add_free_memory(memory_, boot, 0, boot_mapping_end);
    auto const mapped = enter_address_space(memory_, boot);
    if (mapped == 0)
        panic("no memory for page tables");
    add_free_memory(memory_, boot, boot_mapping_end, mapped);

    board_ = read_board(identity_memory{mapped}, boot.acpi);
    silence_legacy_pics();
    apic_.start(board_.local_apic);
    if (route_isa_interrupt(board_, 4, vector::serial, apic_.id()))
        console_.receive_by_interrupt();
    start_clocks();
}

namespace {

/// Hz of the TSC by the processor's own word, 0 without. SDM Vol. 2A, "CPUID", leaves 15h and 16h.
auto declared_tsc_frequency() -> std::uint64_t {
    if (cpuid(0).eax < 0x15)
        return 0;
    auto const ratio = cpuid(0x15);
    if (ratio.eax == 0 or ratio.ebx == 0)
        return 0;
    if (ratio.ecx != 0)
        return std::uint64_t{ratio.ecx} * ratio.ebx / ratio.eax;
    return cpuid(0).eax < 0x16 ? 0 : std::uint64_t{cpuid(0x16).eax & 0xffff} * 1'000'000;
}

} // namespace

[[gnu::cold]] void host::start_clocks() {
    constexpr std::uint64_t millionths{1'000'000};
    auto const reference = board_.pm_timer_port != 0
                               ? reference_clock::pm_timer(board_.pm_timer_port, board_.pm_timer_is_32_bits_wide)
                               : reference_clock::pit();
    auto const sample = [&] { return sample_clocks(reference, [&] { return apic_.counted(); }); };
    auto const after = [&](clock_sample const& from, std::uint32_t milliseconds) {
        wait_ticks(reference, from.reference, reference.frequency() / 1000 * milliseconds);
        return sample();
    };
    auto const frequency = [&](std::uint64_t ticks, clock_sample const& from, clock_sample const& to) {
        return frequency_of(ticks, reference.between(from.reference, to.reference), reference.frequency());
    };

    apic_.count_down();
    auto const first = sample();
    auto const second = after(first, 20);
    auto const third = after(second, 10);
    tsc_report_.by_pm_timer = reference.is_pm_timer();
    tsc_report_.declared = declared_tsc_frequency();
    tsc_report_.measured = frequency(second.tsc - first.tsc, first, second);
    // The declared value is exact or wrong: an emulator may hand on what its model had.
    auto const difference = tsc_report_.declared > tsc_report_.measured ? tsc_report_.declared - tsc_report_.measured
                                                                        : tsc_report_.measured - tsc_report_.declared;
    auto const used = difference < tsc_report_.measured / 100 ? tsc_report_.declared : tsc_report_.measured;
    if (used == 0)
        panic("the time-stamp counter does not count");
    tsc_report_.checked = frequency(third.tsc - second.tsc, second, third) * millionths / used;

    clock_ = tsc_clock{used, first.tsc};
    wall_clock_at_zero_ = seconds_since_1970(read_cmos_clock()) * nanoseconds_per_second - clock_.now();
    apic_.use_timer(frequency(third.other - first.other, first, third), used);
}

} // namespace hv::bare
