// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/abi/vmm_data.hpp>
#include <hv/devices/device.hpp>
#include <hv/devices/lapic_registers.hpp>
#include <hv/devices/lapic_saved.hpp>
#include <hv/interrupt.hpp>
#include <hv/status.hpp>
#include <hv/time.hpp>
#include <hv/x86/apic.hpp>
#include <hv/x86/msr.hpp>

#include <array>
#include <cstdint>

namespace hv {

/// What a local APIC asks of its processor after it took a message or a local interrupt.
enum class lapic_request : std::uint8_t {
    nothing,
    interrupt, ///< a vector became pending: look at pending_vector
    nmi,
    init,
    start_up, ///< at the vector of the message
    smi,
    external, ///< the 8259 has the vector
};

/// The local APIC of one virtual processor, in xAPIC and x2APIC mode. It knows no other APIC: an IPI leaves through
/// `context.send`, and whoever routes it asks each APIC's `route` and hands it to `accept`. Only a fixed interrupt with
/// the shorthand self stays inside. Calls of the context are the last act of a function, when the APIC is consistent.
/// SDM Vol. 3A, "Advanced Programmable Interrupt Controller (APIC)".
class lapic {
  public:
    static constexpr char const* name{"lapic"};
    static constexpr bool reads_move_deadline{false};
    static constexpr device_scope scope{device_scope::processor};
    static constexpr std::array mmio{mmio_range{.first = x86::apic::default_base, .size = 0x1000}};
    static constexpr std::array msrs{msr_range{.first = x86::msr::ia32_apic_base, .count = 1},
                                     msr_range{.first = x86::msr::ia32_tsc_deadline, .count = 1},
                                     msr_range{.first = x86::msr::x2apic_first, .count = 0x100}};
    static constexpr std::uint16_t data_class{hv_data_lapic};
    static constexpr std::uint16_t data_version{1};
    static constexpr std::uint64_t timer_frequency{lapic_timer::frequency};
    using payload = hv_lapic_v1;

    /// Says who the processor is; all other state is that after RESET.
    constexpr void power_on(std::uint32_t id, bool bsp) {
        registers_ = {.id = id};
        if (bsp)
            registers_.apic_base |= x86::apic::base::bootstrap_processor;
        update();
    }
    /// RESET: xAPIC mode, software-disabled; the id and the bootstrap-processor flag stay.
    constexpr void reset(auto&) { power_on(registers_.id, bootstrap_processor()); }
    /// INIT: as RESET, but IA32_APIC_BASE and with it the mode stay.
    constexpr void initialize(auto&) {
        registers_.initialize();
        update();
    }
    /// Leaves the LVT as firmware leaves it for an operating system that knows the 8259 only: software-enabled, ExtINT
    /// at LINT0, NMI at LINT1. For a machine that starts a guest without firmware. MultiProcessor Specification,
    /// "Virtual Wire Mode".
    constexpr void set_virtual_wire() {
        registers_.set_svr(x86::apic::svr::vector | x86::apic::svr::software_enable);
        registers_.set_entry(local_source::lint0, lvt_mode(delivery_mode::external));
        registers_.set_entry(local_source::lint1, lvt_mode(delivery_mode::nmi));
    }

    [[nodiscard]] constexpr auto id() const -> std::uint32_t { return registers_.id; }
    [[nodiscard]] constexpr auto apic_base() const -> std::uint64_t { return registers_.apic_base; }
    /// Whether IA32_APIC_BASE has it on.
    [[nodiscard]] constexpr auto enabled() const -> bool { return registers_.hardware_enabled(); }
    [[nodiscard]] constexpr auto software_enabled() const -> bool { return registers_.software_enabled(); }
    [[nodiscard]] constexpr auto x2apic() const -> bool { return registers_.x2apic(); }
    [[nodiscard]] constexpr auto bootstrap_processor() const -> bool {
        return (registers_.apic_base & x86::apic::base::bootstrap_processor) != 0;
    }
    [[nodiscard]] constexpr auto tsc_deadline_mode() const -> bool {
        return registers_.timer.current_mode() == lapic_timer::mode::tsc_deadline;
    }
    /// Puts the APIC into x2APIC mode, or back into xAPIC mode, from outside the guest.
    constexpr void set_x2apic(bool on) {
        auto const flags = x86::apic::base::enable | (on ? x86::apic::base::extended : 0);
        change_mode((registers_.apic_base & ~x86::apic::base::extended) | flags);
    }

    // What the processor asks.

    /// The vector that the processor takes as soon as it takes interrupts, -1 if none is above the processor priority.
    [[nodiscard]] constexpr auto pending_vector() const -> int {
        return (highest_request_ & 0xf0) > (processor_priority_ & 0xf0) ? highest_request_ : -1;
    }
    /// Whether the answers to these questions may have changed since `take_moved`.
    [[nodiscard]] constexpr auto moved() const -> bool { return moved_; }
    constexpr void take_moved() { moved_ = false; }
    /// Lets them be asked at the next entry too.
    constexpr void ask_again() { moved_ = true; }
    /// Whether a vector waits that the task priority alone, or with a vector in service, holds back.
    [[nodiscard]] constexpr auto held_back() const -> bool {
        return highest_request_ != 0 and (highest_request_ & 0xf0) <= (registers_.tpr & 0xf0);
    }
    /// The processor takes the vector that `pending_vector` named; of another nothing is known. Until that is over, or
    /// another comes, none is pending: there is nothing to take notice of.
    [[gnu::always_inline]] constexpr void acknowledge(int vector) {
        if (vector < 0 or vector != pending_vector())
            return;
        auto const v = static_cast<std::uint8_t>(vector);
        registers_.irr.erase(v);
        registers_.isr.insert(v);
        highest_request_ = registers_.irr.highest();
        in_service_ = v; // it is above all others in service, and above the task priority
        processor_priority_ = v & 0xf0;
    }
    /// Whether the INT output of the 8259 reaches the processor through this APIC.
    [[nodiscard]] constexpr auto accepts_external() const -> bool {
        auto const lint0 = registers_.entry(local_source::lint0);
        return not enabled() or ((lint0 & x86::apic::lvt::masked) == 0 and
                                 (lint0 & x86::apic::lvt::delivery_mode) == lvt_mode(delivery_mode::external));
    }
    /// Whether what reaches LINT0 becomes an NMI. Nothing reaches LINT1.
    [[nodiscard]] constexpr auto may_raise_nmi() const -> bool {
        auto const lint0 = registers_.entry(local_source::lint0);
        return enabled() and (lint0 & x86::apic::lvt::masked) == 0 and
               (lint0 & x86::apic::lvt::delivery_mode) == lvt_mode(delivery_mode::nmi);
    }
    /// CR8: the upper four bits of TPR.
    [[nodiscard]] constexpr auto task_priority() const -> std::uint8_t { return registers_.tpr >> 4; }
    /// A write to CR8. Clears the lower half of TPR, as the processor does, so do not copy back an unchanged value.
    constexpr void set_task_priority(std::uint8_t cr8) { write_task_priority(static_cast<std::uint8_t>(cr8 << 4)); }

    // What arrives from outside.

    /// By what messages find it.
    [[nodiscard]] constexpr auto route() const -> lapic_route { return registers_.route(); }
    /// The least value wins a lowest-priority message.
    [[nodiscard]] constexpr auto arbitration_priority() const -> std::uint8_t {
        return registers_.apr(in_service_, highest_request_);
    }
    /// Takes a message that matches. Says `interrupt` only if a vector became pending that was not before.
    constexpr auto accept(auto&, interrupt_message const& message) -> lapic_request {
        if (not enabled() or message.deassert)
            return lapic_request::nothing;
        return take(message.mode, message.vector, message.level);
    }
    /// A signal at a source of the local vector table; each call is one edge. LINT0 and LINT1 are the processor's INTR
    /// and NMI while the APIC is off.
    constexpr auto local_interrupt(auto&, local_source source) -> lapic_request { return signal(source); }

    /// Records errors (bits of ESR) and signals the first since the last write to ESR at the LVT's error entry. An
    /// illegal vector there is one more error of the same record, never another signal.
    constexpr auto raise_error(std::uint32_t errors) -> lapic_request;

    [[nodiscard]] constexpr auto deadline() const -> instant { return registers_.timer.deadline(); }
    constexpr void expire(auto& context) {
        if (registers_.timer.expire(context.now()))
            (void)signal(local_source::timer);
    }
    /// The guest's TSC was set: a TSC deadline lies elsewhere now.
    constexpr void tsc_changed(auto& context) { registers_.timer.tsc_changed(context); }

    // What the guest reads and writes.

    /// All ones unless in xAPIC mode. A register's four bytes stand at the start of its sixteen; the rest reads zero.
    [[nodiscard]] constexpr auto read_mmio(auto& context, std::uint64_t offset, unsigned size) -> std::uint64_t {
        auto const mask = size < 8 ? (std::uint64_t{1} << size * 8) - 1 : ~std::uint64_t{};
        if (not enabled() or x2apic())
            return mask;
        if (not lapic_access::contains(lapic_access::xapic_existing, offset >> 4)) {
            raise_error(x86::apic::esr::illegal_register_address);
            return 0;
        }
        if ((offset & 0xf) > 3)
            return 0;
        return read_register(context, static_cast<reg>(offset >> 4)) >> (offset & 3) * 8 & mask;
    }
    /// Aligned 32-bit writes only, as the manual demands; every other one is ignored.
    constexpr void write_mmio(auto& context, std::uint64_t offset, unsigned size, std::uint64_t value) {
        if (not enabled() or x2apic() or size != 4 or (offset & 0xf) != 0)
            return;
        if (not lapic_access::contains(lapic_access::xapic_existing, offset >> 4))
            raise_error(x86::apic::esr::illegal_register_address);
        else
            write_register(context, static_cast<reg>(offset >> 4), static_cast<std::uint32_t>(value));
    }

    [[nodiscard]] constexpr auto read_msr(auto& context, std::uint32_t index, std::uint64_t& out) -> bool;
    [[nodiscard]] constexpr auto write_msr(auto& context, std::uint32_t index, std::uint64_t value) -> bool;
    /// The reads that move nothing and take no search. False: `read_msr` says what the read means.
    [[nodiscard, gnu::always_inline]] constexpr auto read_msr_at_once(std::uint32_t index, std::uint64_t& out) const
        -> bool;
    /// The two writes that most interrupts take, end of interrupt and self IPI, where nothing is wrong with them.
    /// False: nothing was done, `write_msr` says what the write means. Moves no deadline.
    [[nodiscard, gnu::always_inline]] constexpr auto write_msr_at_once(auto& context, std::uint32_t index,
                                                                       std::uint64_t value) -> bool;

    /// A write to ICR as an MSR. False: it means a fault, and nothing was done.
    [[nodiscard, gnu::noinline]] auto write_command(auto& context, std::uint64_t value) -> bool;

    // A processor that runs the APIC itself while the guest is in.

    /// Puts the registers into the page that the processor works with. The requests move there: what arrives from now
    /// on is kept apart until `take_back`, so that none is lost and none comes twice.
    constexpr void lend(x86::apic::page& page);
    /// The page came back from the processor.
    constexpr void take_back(x86::apic::page const& page);

    [[nodiscard]] constexpr auto save(auto&) const -> payload { return lapic_saved::save(registers_); }
    /// Refuses what does not belong to this processor or cannot be; see lapic_saved::is_consistent.
    [[nodiscard]] constexpr auto restore(auto& context, payload const& image) -> status {
        if (not lapic_saved::is_consistent(registers_, image))
            return status::invalid_argument;
        lapic_saved::restore(registers_, context, image);
        update();
        return status::ok;
    }

  private:
    using reg = x86::apic::reg;

    [[nodiscard]] static constexpr auto lvt_mode(delivery_mode mode) -> std::uint32_t {
        return static_cast<std::uint32_t>(mode) << x86::apic::lvt::delivery_mode_shift;
    }
    /// What pending_vector compares, kept up to date with every change of IRR, ISR and TPR.
    constexpr void update() {
        highest_request_ = registers_.irr.highest();
        in_service_ = registers_.isr.highest();
        update_priority();
    }
    constexpr void update_priority() {
        processor_priority_ = registers_.ppr(in_service_);
        moved_ = true;
    }
    constexpr void write_task_priority(std::uint8_t value) {
        if (value == registers_.tpr)
            return;
        registers_.tpr = value;
        update_priority();
    }
    [[gnu::always_inline]] constexpr auto request(std::uint8_t vector, bool level) -> lapic_request;
    constexpr auto take(delivery_mode mode, std::uint8_t vector, bool level) -> lapic_request;
    constexpr auto signal(local_source source) -> lapic_request;
    [[gnu::always_inline]] constexpr void end_of_interrupt(auto& context);
    constexpr void send(auto& context, std::uint64_t command);
    constexpr void send_to_self(std::uint8_t vector);
    constexpr void change_mode(std::uint64_t base);
    [[nodiscard]] constexpr auto write_apic_base(std::uint64_t value) -> bool;
    [[nodiscard]] static constexpr auto x2apic_accepts(reg number, std::uint64_t value) -> bool;
    /// Of an MSR that is not written all the time.
    [[nodiscard, gnu::noinline]] auto write_other_msr(auto& context, std::uint32_t index, std::uint64_t value) -> bool;
    [[nodiscard]] constexpr auto read_register(auto& context, reg number) const -> std::uint32_t;
    constexpr void write_register(auto& context, reg number, std::uint32_t value);

    lapic_registers registers_{};
    std::uint8_t highest_request_{};
    std::uint8_t in_service_{}; ///< the highest
    std::uint8_t processor_priority_{};
    bool moved_{}; ///< one of these, or TPR, since somebody took notice
};

} // namespace hv

#include <hv/devices/lapic_delivery.hpp>
#include <hv/devices/lapic_page.hpp>
#include <hv/devices/lapic_register_access.hpp>

namespace hv {
static_assert(device<lapic> and mmio_device<lapic> and msr_device<lapic> and timed_device<lapic> and saveable<lapic>);
}
