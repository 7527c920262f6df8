// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <catch2/catch.hpp>

#include "vmx_apic_model.hpp"
#include "vmx_switch_model.hpp"

#include <hv/devices/ioapic.hpp>
#include <hv/devices/lapic.hpp>
#include <hv/guest/start_state.hpp>
#include <hv/memory/ept.hpp>
#include <hv/vmm.hpp>

#include <array>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

/// Guests that use their local APIC on the modelled VMX processor, in whole machines.
namespace hv::test::apic {

struct leave_at_pause {
    auto on(exits::pause const&, auto&) -> verdict { return verdict::leave; }
};

/// The device alone plays the local APIC.
struct emulated : default_machine {
    using backend = modelled_vmx;
    using devices = device_set<lapic, ioapic>;
    using handlers = exit_chain<leave_at_pause>;
};
/// The processor runs it.
struct virtualised : emulated {
    static constexpr apic_policy apic{apic_policy::virtualised};
};

inline constexpr std::uint64_t code_at{0x1000};

/// One thing that happens: an instruction of the guest, or something from outside.
struct act {
    enum class kind { load, store, rdmsr, wrmsr, cr8, flags, time, message, raise, lower } what{};
    std::uint32_t where{};
    std::uint64_t value{};
    bool delivery_exits{}; ///< the next delivery to the guest exits in its middle
};

/// What the guest saw of it: the value of a load, and all that was delivered to it.
struct outcome {
    std::uint64_t value{};
    std::vector<std::uint64_t> delivered{};
    bool takes_interrupts{};
    stop_kind stopped{};
    auto operator==(outcome const&) const -> bool = default;
};

/// One machine, its guest, and what happens to them.
template <typename Machine>
class player {
  public:
    player() {
        outer_ = std::exchange(modelled_vmx_switch::model, &model);
        model.describe();
        REQUIRE(monitor.enable() == status::ok);
        REQUIRE(monitor.create(*machine) == status::ok);
        REQUIRE(machine->activate_cpus(Machine::max_vcpus) == status::ok);
        REQUIRE(machine->give_memory({.size = 1u << 20}) == status::ok);
        for (auto& cpu : machine->cpus())
            hv::apply(cpu.hardware(), guest::protected_mode_start(code_at, 0));
        modelled_vmx_switch::model = outer_;
    }
    ~player() {
        outer_ = std::exchange(modelled_vmx_switch::model, &model);
        machine->destroy();
        monitor.disable();
        modelled_vmx_switch::model = outer_;
    }
    player(player const&) = delete;
    auto operator=(player const&) -> player& = delete;

    auto play(act const& a) -> outcome {
        outer_ = std::exchange(modelled_vmx_switch::model, &model);
        act_ = a;
        done_ = from_outside();
        delivery_exits_ = a.delivery_exits;
        auto& cpu = machine->cpu(seat);
        place_code();
        cpu.set_rip(code_at);
        cpu.set_gpr(x86::gpr::rax, act_.value & 0xffff'ffff);
        cpu.set_gpr(x86::gpr::rdx, act_.value >> 32);
        cpu.set_gpr(x86::gpr::rcx, act_.where);
        model.delivered.clear();
        model.next = [this](vmx_model::guest& g) { stay(g); };
        cpu.run();
        outcome seen{.takes_interrupts = (cpu.hardware().rflags() & 0x200) != 0, .stopped = machine->reason().kind};
        if (act_.what == act::kind::load)
            seen.value = cpu.gpr(x86::gpr::rax) & 0xffff'ffff;
        if (act_.what == act::kind::rdmsr and not faulted())
            seen.value = cpu.gpr(x86::gpr::rdx) << 32 | (cpu.gpr(x86::gpr::rax) & 0xffff'ffff);
        for (auto const& e : model.delivered)
            seen.delivered.push_back(e.raw);
        modelled_vmx_switch::model = outer_;
        return seen;
    }
    [[nodiscard]] auto apic() -> hv_lapic_v1 {
        processor_context context{machine->cpu(seat)};
        return machine->cpu(seat).apic().save(context);
    }
    [[nodiscard]] auto board() -> hv_ioapic_v1 {
        machine_context context{*machine};
        return machine->devices().template get<ioapic>().save(context);
    }
    [[nodiscard]] auto restore(hv_lapic_v1 const& image) -> status {
        register_context context{machine->cpu(seat)};
        return machine->cpu(seat).local().template restore<lapic>(context, image);
    }
    void write_ioapic(std::uint32_t index, std::uint32_t value) {
        machine_context context{*machine};
        static_cast<void>(machine->devices().write_mmio(context, 0xfec0'0000, 4, index));
        static_cast<void>(machine->devices().write_mmio(context, 0xfec0'0010, 4, value));
    }

    unsigned seat{}; ///< the vCPU that plays
    hosted::host host{hosted::host_config{.memory = std::size_t{64} << 20}};
    vmx_model model{host};
    vmm<Machine, hosted::host> monitor{host};
    std::unique_ptr<vm<Machine, hosted::host>> machine{std::make_unique<vm<Machine, hosted::host>>()};

  private:
    using end = vmx_virtual_apic::end;

    [[nodiscard]] auto from_outside() -> bool {
        machine_context context{*machine};
        switch (act_.what) {
        case act::kind::message:
            machine->deliver({.vector = static_cast<std::uint8_t>(act_.where), .level = act_.value != 0}, nullptr);
            return true;
        case act::kind::raise:
            machine->raise(context, irq_line{static_cast<std::uint8_t>(act_.where)});
            return true;
        case act::kind::lower:
            machine->lower(context, irq_line{static_cast<std::uint8_t>(act_.where)});
            return true;
        case act::kind::time:
            host.set_now(host.now() + static_cast<nanoseconds>(act_.value));
            return false;
        default:
            return false;
        }
    }
    /// MOV EAX, moffs32 or MOV moffs32, EAX for the emulator; what else exits needs no bytes.
    void place_code() {
        std::array<unsigned, 5> bytes{act_.what == act::kind::load ? 0xa1u : 0xa3u};
        for (unsigned i{0}; i < 4; ++i)
            bytes[i + 1] = (0xfee0'0000u + act_.where) >> 8 * i & 0xff;
        for (unsigned i{0}; i < 5; ++i)
            *machine->memory().at(gpa{code_at + i}, access::write) = static_cast<std::byte>(bytes[i]);
    }
    [[nodiscard]] auto faulted() const -> bool {
        for (auto const& e : model.delivered)
            if (e.type() == event_type::exception)
                return true;
        return false;
    }

    /// One stay in the guest: what is delivered at the entry, the instruction if it is not over, a PAUSE.
    void stay(vmx_model::guest& g) {
        model.next = [this](vmx_model::guest& again) { stay(again); };
        vmx_virtual_apic apic{host, g};
        apic.enter();
        if (g.state.at(0x4016) >> 31 != 0 and delivery_exits_) {
            model.delivered.pop_back();
            g.state.set(0x6820, g.state.at(0x6820) | ((g.state.at(0x4016) & 0x700) == 0 ? 0x200u : 0u));
            return exit_during(g, static_cast<std::uint32_t>(g.state.at(0x4016)));
        }
        if (taken_away(g, apic))
            return;
        if (not done_)
            done_ = g.state.at(0x681e) != code_at or faulted();
        if (not done_) {
            auto const how = execute(g, apic);
            if (how == end::faulted)
                return;
            done_ = true;
            g.state.set(0x681e, code_at + 5);
            if (how == end::trapped)
                return;
            if ((g.state.at(0x4002) & 4) != 0 and (g.state.at(0x6820) & 0x200) != 0)
                return g.exit(7);
            if (taken_away(g, apic))
                return;
        }
        g.length = 2;
        g.exit(40);
    }
    /// Delivers what the processor delivers itself. Whether that exited.
    [[nodiscard]] auto taken_away(vmx_model::guest& g, vmx_virtual_apic& apic) -> bool {
        auto const vector = apic.take();
        if (not vector)
            return false;
        if (delivery_exits_) {
            exit_during(g, 0x8000'0000u | *vector);
            return true;
        }
        model.delivered.push_back(event::make(event_type::external_interrupt, *vector));
        g.state.set(0x6820, g.state.at(0x6820) & ~0x200ull);
        return false;
    }
    /// The delivery touches a page that the nested tables are to be asked for again.
    void exit_during(vmx_model::guest& g, std::uint32_t information) {
        delivery_exits_ = false;
        g.exit(48, 0x182);
        g.state.set(0x2400, 0x3000);
        g.state.set(0x4408, information);
        g.state.set(0x440a, g.state.at(0x4018));
    }
    [[nodiscard]] auto execute(vmx_model::guest& g, vmx_virtual_apic& apic) -> end {
        g.length = 2;
        auto const value = static_cast<std::uint32_t>(act_.value);
        switch (act_.what) {
        case act::kind::load:
            return apic.load(act_.where);
        case act::kind::store:
            return apic.store(act_.where, value);
        case act::kind::rdmsr:
            return apic.read_msr(act_.where);
        case act::kind::wrmsr: {
            auto const how = apic.write_msr(act_.where, act_.value);
            if (how)
                return *how;
            model.delivered.push_back(event::make(x86::exception::general_protection, 0));
            g.state.set(0x6820, g.state.at(0x6820) & ~0x200ull);
            return end::completed;
        }
        case act::kind::cr8:
            return apic.move_to_cr8(static_cast<std::uint8_t>(value & 15));
        case act::kind::flags:
            g.state.set(0x6820, (g.state.at(0x6820) & ~0x200ull) | (value & 0x200));
            return end::completed;
        default: // time passes until the host takes an interrupt
            g.exit(1);
            done_ = true;
            return end::faulted;
        }
    }

    vmx_model* outer_{};
    act act_{};
    bool done_{}, delivery_exits_{};
};

/// Both machines, and that they agree.
struct pair {
    player<emulated> off{};
    player<virtualised> on{};

    void play(act const& a) {
        auto const expected = off.play(a);
        auto const found = on.play(a);
        CAPTURE(static_cast<int>(a.what), a.where, a.value, a.delivery_exits, expected.value, found.value,
                expected.delivered, found.delivered);
        REQUIRE(expected.stopped == stop_kind::none);
        REQUIRE(found == expected);
        auto const x = off.apic(), y = on.apic();
        REQUIRE(std::memcmp(&x, &y, sizeof x) == 0);
        auto const p = off.board(), q = on.board();
        REQUIRE(std::memcmp(&p, &q, sizeof p) == 0);
    }
    void restore(hv_lapic_v1 const& image) {
        REQUIRE(off.restore(image) == status::ok);
        REQUIRE(on.restore(image) == status::ok);
    }
    void store(std::uint32_t offset, std::uint32_t value) { play({act::kind::store, offset, value}); }
    void write_ioapic(std::uint32_t index, std::uint32_t value) {
        off.write_ioapic(index, value);
        on.write_ioapic(index, value);
    }
    /// A pin that interrupts at the vector as long as it is asserted.
    void level_pin(unsigned pin, std::uint8_t vector) {
        write_ioapic(0x11 + 2 * pin, 0);
        write_ioapic(0x10 + 2 * pin, 0x8000u | vector);
    }
    [[nodiscard]] auto is_level(std::uint8_t vector) -> bool {
        return (off.apic().page.tmr[vector / 32] >> vector % 32 & 1) != 0;
    }
};

} // namespace hv::test::apic
