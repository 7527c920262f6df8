// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/abi/vmm_data.hpp>
#include <hv/devices/lapic_registers.hpp>

#include <array>
#include <bit>
#include <cstdint>

namespace hv::lapic_saved {

/// The payload of one local APIC. In TSC-deadline mode `timer_target` is the value of IA32_TSC_DEADLINE, not an
/// instant.
[[nodiscard]] constexpr auto save(lapic_registers const& r) -> hv_lapic_v1 {
    hv_lapic_v1 image{};
    auto& page = image.page;
    page.id = r.id_register();
    page.version = lapic_registers::version;
    page.tpr = r.tpr;
    page.apr = r.apr(r.isr.highest(), r.irr.highest());
    page.ldr = r.ldr_register();
    page.dfr = r.dfr;
    page.svr = r.svr;
    for (unsigned i{}; i < 8; ++i) {
        page.isr[i] = r.isr.words[i];
        page.tmr[i] = r.tmr.words[i];
        page.irr[i] = r.irr.words[i];
    }
    page.esr = r.esr;
    page.icr = r.icr;
    page.lvt_cmci = r.entry(local_source::cmci);
    page.lvt_timer = r.entry(local_source::timer);
    page.lvt_thermal = r.entry(local_source::thermal_sensor);
    page.lvt_pcint = r.entry(local_source::performance_counter);
    page.lvt_lint0 = r.entry(local_source::lint0);
    page.lvt_lint1 = r.entry(local_source::lint1);
    page.lvt_error = r.entry(local_source::error);
    page.icr_timer = r.timer.initial_count();
    page.dcr_timer = r.timer.divide_configuration();
    image.msr_apicbase = r.apic_base;
    if (r.timer.current_mode() == lapic_timer::mode::tsc_deadline)
        image.timer_target = std::bit_cast<std::int64_t>(r.timer.tsc_deadline());
    else if (r.timer.deadline() != never)
        image.timer_target = r.timer.deadline().since_creation;
    image.esr_pending = r.esr_pending;
    return image;
}

[[nodiscard]] constexpr auto vectors(std::uint32_t const (&words)[8]) -> vector_set {
    vector_set set{};
    for (unsigned i{}; i < 8; ++i)
        set.words[i] = words[i];
    return set;
}

[[nodiscard]] constexpr auto timer_mode(hv_lapic_page_v1 const& page) -> lapic_timer::mode {
    return static_cast<lapic_timer::mode>((page.lvt_timer & x86::apic::lvt::timer_mode) >>
                                          x86::apic::lvt::timer_mode_shift);
}

/// Whether the payload fits the APIC that `r` describes (its id, whether it is the bootstrap processor's) and says
/// nothing that no APIC can say. Its mode, xAPIC or x2APIC, may be another: the guest may have changed it.
[[nodiscard]] constexpr auto is_consistent(lapic_registers const& r, hv_lapic_v1 const& image) -> bool {
    namespace base = x86::apic::base;
    namespace esr = x86::apic::esr;
    constexpr std::uint32_t errors{esr::send_checksum | esr::receive_checksum | esr::send_accept | esr::receive_accept |
                                   esr::send_illegal_vector | esr::receive_illegal_vector |
                                   esr::illegal_register_address};
    auto const& page = image.page;
    auto const differs = image.msr_apicbase ^ r.apic_base;
    auto const extended = (image.msr_apicbase & base::extended) != 0;
    auto const isr = vectors(page.isr);
    auto const armed = image.timer_target != 0;
    auto const mode = timer_mode(page);
    return (differs & ~(base::enable | base::extended)) == 0 and
           (not extended or (image.msr_apicbase & base::enable) != 0) and page.id == (extended ? r.id : r.id << 24) and
           page.version == lapic_registers::version and page.tpr <= 0xff and
           ((page.esr | image.esr_pending) & ~errors) == 0 and isr.is_legal() and isr.has_one_of_each_class() and
           vectors(page.irr).is_legal() and vectors(page.tmr).is_legal() and
           not(armed and mode == lapic_timer::mode::reserved) and
           not(armed and lapic_timer::counts(mode) and page.icr_timer == 0);
}

/// Takes over a consistent payload; reserved bits of it are dropped. A TSC deadline needs the guest's TSC, so the
/// machine's time must have been restored before.
constexpr void restore(lapic_registers& r, auto& context, hv_lapic_v1 const& image) {
    auto const& page = image.page;
    r.apic_base = image.msr_apicbase;
    r.initialize();
    if (not r.hardware_enabled())
        return;
    r.tpr = static_cast<std::uint8_t>(page.tpr);
    r.ldr = r.x2apic() ? 0 : page.ldr & 0xff000000;
    r.dfr = r.x2apic() ? 0xffffffff : page.dfr | lapic_registers::dfr_fixed;
    r.set_svr(page.svr);
    r.isr = vectors(page.isr);
    r.tmr = vectors(page.tmr);
    r.irr = vectors(page.irr);
    r.esr = page.esr;
    r.esr_pending = image.esr_pending;
    auto const icr_high = page.icr & (r.x2apic() ? 0xffffffff'00000000 : 0xff000000'00000000);
    r.icr = icr_high | (page.icr & lapic_registers::icr_low_writable);
    r.set_entry(local_source::cmci, page.lvt_cmci);
    r.set_entry(local_source::timer, page.lvt_timer);
    r.set_entry(local_source::thermal_sensor, page.lvt_thermal);
    r.set_entry(local_source::performance_counter, page.lvt_pcint);
    r.set_entry(local_source::lint0, page.lvt_lint0);
    r.set_entry(local_source::lint1, page.lvt_lint1);
    r.set_entry(local_source::error, page.lvt_error);
    r.timer.restore(timer_mode(page), page.icr_timer, page.dcr_timer, image.timer_target);
    if (timer_mode(page) == lapic_timer::mode::tsc_deadline)
        r.timer.set_tsc_deadline(context, std::bit_cast<std::uint64_t>(image.timer_target));
}

} // namespace hv::lapic_saved
