// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <catch2/catch.hpp>

#include <hv/backends/fake.hpp>
#include <hv/devices/pc.hpp>
#include <hv/guest/identity_tables.hpp>
#include <hv/memory/npt.hpp>
#include <hv/text.hpp>
#include <hv/vmm.hpp>
#include <kernel_glue/hosted/host.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/// A whole machine in user space: the scripted guest of the fake backend below, the hosted host beneath it, and all
/// that lies between for real.
namespace hv::test {

/// Gives the test control back at the PAUSE that whole_machine::run puts behind each script.
struct leave_at_pause {
    auto on(exits::pause const&, auto&) -> verdict { return verdict::leave; }
};

using pc_devices =
    device_set<lapic, ioapic, pic_8259, pit_8254, hpet, pm_timer, rtc_mc146818,
               uart_16550<uart_config{.base = 0x3f8, .irq = 4}>, keyboard_controller, exit_port, debug_port>;

/// A PC whose processor is scripted.
struct fake_pc : default_machine {
    using backend = fake;
    using devices = pc_devices;
    using handlers = exit_chain<leave_at_pause>;
};

/// The same with neither devices nor a local APIC.
struct bare_fake : default_machine {
    using backend = fake;
    using handlers = exit_chain<leave_at_pause>;
};

/// Offers every CPUID bit there is, so that whatever a guest sees missing was taken away by the library.
template <typename Host>
void offer_everything(Host& host) {
    constexpr auto all = ~std::uint32_t{0};
    for (std::uint32_t leaf{0}; leaf != 0x20; ++leaf) {
        host.set_cpuid(leaf, 0, {all, all, all, all});
        host.set_cpuid(0x80000000 + leaf, 0, {all, all, all, all});
    }
    host.set_cpuid(0, 0, {0x1f, 0x756e6547, 0x6c65746e, 0x49656e69});
    host.set_cpuid(0x80000008, 0, {0x3030, all, all, all}); // 48 bits of addresses
    host.set_cpuid(0x80000000, 0, {0x8000001f, 0x756e6547, 0x6c65746e, 0x49656e69});
}

inline constexpr std::uint64_t code_at{0x1000};    ///< where `place_code` puts instructions
inline constexpr std::uint64_t tables_at{0x10000}; ///< page tables of `long_mode`

/// One machine on one host.
template <typename Machine = fake_pc, typename Host = hosted::serial_host>
class whole_machine {
  public:
    using machine_type = vm<Machine, Host>;
    static constexpr std::uint64_t memory_size{1u << 20};

    explicit whole_machine(hosted::host_config config = {.memory = std::size_t{64} << 20}, nanoseconds start = 0)
        : host{config} {
        host.set_now(start);
        offer_everything(host);
        if (monitor.enable() != status::ok)
            throw std::runtime_error{"no virtualisation"};
        make();
    }
    ~whole_machine() {
        machine->destroy();
        monitor.disable();
    }
    whole_machine(whole_machine const&) = delete;
    auto operator=(whole_machine const&) -> whole_machine& = delete;

    /// A machine with all its processors.
    void make() {
        if (monitor.create(*machine) != status::ok or machine->activate_cpus(Machine::max_vcpus) != status::ok or
            machine->give_memory({.size = memory_size}) != status::ok)
            throw std::runtime_error{"no machine"};
    }

    [[nodiscard]] auto cpu() -> auto& { return machine->cpu(0); }
    [[nodiscard]] auto guest() -> backends::fake::vcpu& { return cpu().hardware(); }
    [[nodiscard]] auto apic() -> lapic& { return cpu().apic(); }
    [[nodiscard]] auto stats() -> vcpu_stats& { return cpu().stats(); }
    template <typename Device>
    [[nodiscard]] auto device() -> Device& {
        return machine->devices().template get<Device>();
    }
    [[nodiscard]] auto gpr(x86::gpr name) -> std::uint64_t { return guest().gpr(name); }
    [[nodiscard]] auto rax() -> std::uint64_t { return gpr(x86::gpr::rax); }

    /// Runs these steps and comes back behind the last, or when the machine stops.
    void run(std::vector<script::step> steps) {
        steps.emplace_back(script::exit{exits::pause{}});
        guest().delivered.clear();
        guest().run_script(std::move(steps));
        cpu().run();
    }
    [[nodiscard]] auto stopped() const -> stop_kind { return machine->reason().kind; }
    [[nodiscard]] auto delivered() -> std::vector<event> const& { return guest().delivered; }

    // Ports, MSRs and CPUID as a guest uses them.

    [[nodiscard]] auto in(std::uint16_t port, std::uint8_t size = 1) -> std::uint64_t {
        run({io(port, size, true)});
        return rax();
    }
    void out(std::uint16_t port, std::uint64_t value, std::uint8_t size = 1) {
        run({script::set{x86::gpr::rax, value}, io(port, size, false)});
    }
    [[nodiscard]] static auto io(std::uint16_t port, std::uint8_t size, bool in) -> script::step {
        return script::exit{exits::io_port{.port = port,
                                           .size = size,
                                           .in = in,
                                           .string = false,
                                           .rep = false,
                                           .address_size = 0,
                                           .segment = x86::segment_name::ds,
                                           .segment_known = false}};
    }
    [[nodiscard]] auto cpuid(std::uint32_t leaf, std::uint32_t index = 0) -> x86::cpuid_result {
        run({script::set{x86::gpr::rax, leaf}, script::set{x86::gpr::rcx, index}, script::exit{exits::cpuid{}}});
        return {static_cast<std::uint32_t>(rax()), static_cast<std::uint32_t>(gpr(x86::gpr::rbx)),
                static_cast<std::uint32_t>(gpr(x86::gpr::rcx)), static_cast<std::uint32_t>(gpr(x86::gpr::rdx))};
    }
    /// Whether the guest could write it, rather than take #GP.
    [[nodiscard]] auto wrmsr(std::uint32_t index, std::uint64_t value) -> bool {
        run({script::exit{exits::msr_write{.index = index, .value = value}}});
        return not took_gp();
    }
    /// Whether the guest could read it; the value is in `msr`.
    [[nodiscard]] auto rdmsr(std::uint32_t index) -> bool {
        run({script::exit{exits::msr_read{.index = index}}});
        if (took_gp())
            return false;
        msr = gpr(x86::gpr::rdx) << 32 | (rax() & 0xffffffff);
        return true;
    }
    [[nodiscard]] auto took_gp() -> bool {
        return delivered() == std::vector{event::make(x86::exception::general_protection, 0)};
    }

    // Code and modes.

    /// Writes guest-physical memory from outside.
    void poke(std::uint64_t address, std::initializer_list<unsigned> bytes) {
        for (auto const byte : bytes)
            *machine->memory().at(gpa{address++}, access::read) = static_cast<std::byte>(byte);
    }
    template <typename T>
    [[nodiscard]] auto peek(std::uint64_t address) -> T {
        T value{};
        for (std::size_t i{0}; i != sizeof(T); ++i)
            value |= static_cast<T>(std::to_integer<T>(*machine->memory().at(gpa{address + i}, access::read)) << 8 * i);
        return value;
    }
    /// Puts an instruction where the guest stands. Flat 32-bit protected mode, unless it is in another already.
    void place_code(std::initializer_list<unsigned> bytes) {
        if ((guest().cr0() & x86::cr0::pe) == 0)
            enter(guest::protected_mode_start(code_at, 0));
        poke(code_at, bytes);
        guest().set_rip(code_at);
    }
    /// A 32-bit write or read of device memory by 32-bit code.
    void write_mmio(std::uint64_t address, std::uint32_t value) {
        access_mmio(0xa3, address, script::store{gpa{address}, value, 4}, value); // MOV moffs32, EAX
    }
    [[nodiscard]] auto read_mmio(std::uint64_t address) -> std::uint32_t {
        access_mmio(0xa1, address, script::load{gpa{address}, 4}, 0); // MOV EAX, moffs32
        return static_cast<std::uint32_t>(rax());
    }
    void long_mode() {
        if (not guest::write_identity_tables(machine->memory(), tables_at))
            throw std::runtime_error{"no room for page tables"};
        enter(guest::long_mode_start(code_at, tables_at, 0));
    }
    void set_cpl(std::uint32_t cpl) {
        for (auto const name : {x86::segment_name::cs, x86::segment_name::ss}) {
            auto s = guest().segment(name);
            s.access = (s.access & ~x86::segment_access::dpl) | cpl << x86::segment_access::dpl_shift;
            guest().set_segment(name, s);
        }
    }
    void interrupts(bool on) {
        auto const flags = guest().rflags() & ~x86::rflags::interrupt;
        guest().set_rflags(on ? flags | x86::rflags::interrupt : flags);
    }

    Host host;
    vmm<Machine, Host> monitor{host};
    std::unique_ptr<machine_type> machine{std::make_unique<machine_type>()};
    std::uint64_t msr{};

  private:
    void access_mmio(unsigned opcode, std::uint64_t address, script::step const& step, std::uint32_t value) {
        auto const byte = [address](unsigned shift) { return static_cast<unsigned>(address >> shift & 0xff); };
        place_code({opcode, byte(0), byte(8), byte(16), byte(24)});
        guest().set_gpr(x86::gpr::rax, value);
        run({step});
    }
    void enter(guest::start_state const& state) { hv::apply(guest(), state); }
};

[[nodiscard]] inline auto external(std::uint8_t vector) -> event {
    return event::make(event_type::external_interrupt, vector);
}
inline auto const nmi_event = event::make(event_type::nmi, 2);

} // namespace hv::test

template <>
struct Catch::StringMaker<hv::event> {
    static auto convert(hv::event const& e) -> std::string {
        return std::string{hv::text_line<>{}.text("event ").hex(e.raw).view()};
    }
};
