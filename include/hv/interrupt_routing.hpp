// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/backend.hpp>
#include <hv/device_context.hpp>
#include <hv/devices/ioapic.hpp>
#include <hv/devices/lapic.hpp>
#include <hv/devices/pic_8259.hpp>
#include <hv/interrupt.hpp>
#include <hv/posted_requests.hpp>
#include <hv/status.hpp>
#include <hv/vm_access.hpp>
#include <hv/x86/apic.hpp>

#include <cstdint>

namespace hv {

template <typename Machine, typename Host>
class vcpu;
template <typename Machine, typename Host>
class vm;

/// How interrupts get from the devices of a machine to its vCPUs, and from one vCPU to others: the part of hv::vm that
/// joins their controllers. An ISA line reaches the 8259 pair and the I/O APIC; line 0 arrives at I/O APIC pin 2, as on
/// every PC.
template <typename Machine, typename Host>
class interrupt_routing {
    using vcpu_type = vcpu<Machine, Host>;

  public:
    template <typename Context>
    void raise(Context& context, irq_line line) {
        if constexpr (has_pic)
            if (line.number < 16)
                (void)self().devices().template get<pic_8259>().raise(context, line.number);
        if constexpr (has_ioapic)
            (void)self().devices().template get<ioapic>().raise(context, ioapic_pin(line));
    }
    template <typename Context>
    void lower(Context& context, irq_line line) {
        if constexpr (has_pic)
            if (line.number < 16)
                (void)self().devices().template get<pic_8259>().lower(context, line.number);
        if constexpr (has_ioapic)
            (void)self().devices().template get<ioapic>().lower(context, ioapic_pin(line));
    }
    template <typename Context>
    void pulse(Context& context, irq_line line) {
        if constexpr (has_pic)
            if (line.number < 16)
                (void)self().devices().template get<pic_8259>().pulse(context, line.number);
        if constexpr (has_ioapic)
            (void)self().devices().template get<ioapic>().pulse(context, ioapic_pin(line));
    }

    /// The 8259's INT output moved: LINT0 of the first processor follows, and I/O APIC pin 0 sees an edge. An entry of
    /// LINT0 that does not say ExtINT sees edges too.
    template <typename Context>
    void set_external_interrupt(Context& context, bool level) {
        bool const rises{level and not external_interrupt()};
        assume_external_interrupt(level);
        if (rises) {
            if constexpr (is_parallel)
                self().cpu(0).post(posted_requests::request::lint0);
            else
                self().cpu(0).signal_lint0();
        }
        if constexpr (has_ioapic)
            if (rises)
                (void)self().devices().template get<ioapic>().pulse(context, 0);
    }
    /// The same of a restored 8259: its past edges are in what else is restored.
    void assume_external_interrupt(bool level) {
        __atomic_store_n(&self().external_interrupt_, level, __ATOMIC_RELAXED);
    }
    [[nodiscard]] auto external_interrupt() const -> bool {
        return __atomic_load_n(&self().external_interrupt_, __ATOMIC_RELAXED);
    }

    /// The interrupt-acknowledge cycle: the vector of the 8259 pair.
    [[nodiscard]] auto acknowledge_external() -> std::uint8_t {
        if constexpr (has_pic) {
            machine_context context{self()};
            return self().devices().template get<pic_8259>().acknowledge(context);
        } else {
            return 0xff;
        }
    }

    /// Routes a message to the local APICs it names. `source` is the sender of an IPI, null for devices.
    void deliver(interrupt_message const& message, vcpu_type* source) {
        if constexpr (vcpu_type::has_lapic) {
            auto const sender = source == nullptr ? ~0u : source->apic().id();
            vcpu_type* idlest{nullptr};
            std::uint8_t least{};
            for (auto& target : self().cpus()) {
                auto const route = target.route();
                if (not self().is_active(target.id()) or not route.matches(message, sender))
                    continue;
                if (message.mode != delivery_mode::lowest_priority) {
                    hand_over(target, message);
                } else if (not route.software_enabled) {
                    continue; // it takes no part in the arbitration, or the interrupt would be lost
                } else if (auto const priority = target.arbitration_priority(); idlest == nullptr or priority < least) {
                    idlest = &target;
                    least = priority;
                }
            }
            if (idlest != nullptr)
                hand_over(*idlest, message);
        }
    }

    /// Shows processors that run their APICs the APIC's address, while each of them runs it as xAPIC: to any other it
    /// would be memory. Without the window accesses fault, and the device answers. `from` is the one that changed.
    void place_apic_window(vcpu_type& from)
        requires vcpu_type::runs_apic
    {
        if ((from.hardware().runs_apic_as() == virtual_apic::xapic) == self().apic_window_)
            return; // nobody else has access while this one does not stand aside, so it cannot change meanwhile
        exclusive_access held{from};
        bool wanted{true};
        self().for_each_active(
            [&wanted](vcpu_type& each) { wanted = wanted and each.hardware().runs_apic_as() == virtual_apic::xapic; });
        if (wanted == self().apic_window_)
            return;
        constexpr gpa address{x86::apic::default_base};
        if (wanted)
            self().apic_window_ = held.memory().map_device(self().host(), address, page_size,
                                                           self().hardware().apic_window()) == status::ok;
        else
            self().apic_window_ = held.memory().unmap_device(self().host(), address, page_size) != status::ok;
    }

    [[nodiscard]] auto shows_apic_window() const -> bool { return self().apic_window_; }

    [[gnu::noinline]] void end_of_interrupt(std::uint8_t vector) {
        if constexpr (has_ioapic) {
            machine_context context{self()};
            self().devices().template get<ioapic>().end_of_interrupt(context, vector);
        }
    }

  private:
    static constexpr bool has_pic{Machine::devices::template has<pic_8259>};
    static constexpr bool has_ioapic{Machine::devices::template has<ioapic>};

    [[nodiscard]] static constexpr auto ioapic_pin(irq_line line) -> unsigned {
        return line.number == 0 ? 2 : line.number;
    }

    static void hand_over(vcpu_type& target, interrupt_message const& message) {
        if constexpr (is_parallel)
            target.post(message);
        else
            target.accept(message);
    }

    [[nodiscard]] auto self() -> vm<Machine, Host>& { return static_cast<vm<Machine, Host>&>(*this); }
    [[nodiscard]] auto self() const -> vm<Machine, Host> const& { return static_cast<vm<Machine, Host> const&>(*this); }

    static constexpr bool is_parallel{not Host::callers_are_serial};
};

} // namespace hv
