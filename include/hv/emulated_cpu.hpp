// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/emulate/plain_move.hpp>
#include <hv/memory/code_page.hpp>
#include <hv/port_access.hpp>
#include <hv/register_access.hpp>
#include <hv/x86/registers.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace hv {

/// A vCPU as the instruction emulator wants it: registers of the hardware state, memory and devices of the machine.
template <typename Vcpu>
class emulated_cpu {
  public:
    explicit emulated_cpu(Vcpu& processor) : cpu_{processor} {}

    [[nodiscard]] auto gpr(x86::gpr name) const -> std::uint64_t { return cpu_.hardware().gpr(name); }
    void set_gpr(x86::gpr name, std::uint64_t value) { cpu_.hardware().set_gpr(name, value); }
    [[nodiscard]] auto rip() const -> std::uint64_t { return cpu_.hardware().rip(); }
    void set_rip(std::uint64_t value) { cpu_.hardware().set_rip(value); }
    [[nodiscard]] auto rflags() const -> std::uint64_t { return cpu_.hardware().rflags(); }
    void set_rflags(std::uint64_t value) { cpu_.hardware().set_rflags(value); }
    [[nodiscard]] auto cr0() const -> std::uint64_t { return cpu_.hardware().cr0(); }
    [[nodiscard]] auto cr2() const -> std::uint64_t { return cpu_.hardware().cr2(); }
    [[nodiscard]] auto cr3() const -> std::uint64_t { return cpu_.hardware().cr3(); }
    [[nodiscard]] auto cr4() const -> std::uint64_t { return cpu_.hardware().cr4(); }
    [[nodiscard]] auto efer() const -> std::uint64_t { return cpu_.hardware().efer(); }
    [[nodiscard]] auto segment(x86::segment_name name) const -> x86::segment { return cpu_.hardware().segment(name); }
    void set_segment(x86::segment_name name, x86::segment const& value) { cpu_.hardware().set_segment(name, value); }
    [[nodiscard]] auto gdtr() const -> x86::descriptor_table { return cpu_.hardware().gdtr(); }
    void set_gdtr(x86::descriptor_table const& value) { cpu_.hardware().set_gdtr(value); }
    [[nodiscard]] auto idtr() const -> x86::descriptor_table { return cpu_.hardware().idtr(); }
    void set_idtr(x86::descriptor_table const& value) { cpu_.hardware().set_idtr(value); }
    [[nodiscard]] auto cpl() const -> std::uint8_t { return cpu_.hardware().cpl(); }

    [[nodiscard]] auto memory() -> auto& { return cpu_.machine().memory(); }
    /// Where the bytes at RIP are, if that is 64-bit code of a page that is known.
    [[nodiscard, gnu::always_inline]] auto recent_code() -> std::byte const*
        requires remembers_code<typename Vcpu::hardware_type>
    {
        return cpu_.recent_code().at(gva{rip()}).find(cpu_.hardware().fetch_state(), gva{rip()});
    }
    [[nodiscard]] auto walk_to_code(paging_state const& state, gva linear) -> std::byte const*
        requires remembers_code<typename Vcpu::hardware_type>
    {
        return cpu_.recent_code().at(linear).walk(memory(), cpu_.hardware().fetch_state(), state, linear);
    }

    [[nodiscard]] auto recent_moves() -> plain_moves& { return cpu_.recent_moves(); }

    [[nodiscard]] auto read_control_register(unsigned number) -> std::uint64_t {
        return hv::read_control_register(cpu_, number);
    }
    [[nodiscard]] auto write_control_register(unsigned number, std::uint64_t value) -> bool {
        return hv::write_control_register(cpu_, number, value);
    }
    [[nodiscard]] auto read_debug_register(unsigned number) -> std::uint64_t {
        return cpu_.hardware().debug_register(number);
    }
    void write_debug_register(unsigned number, std::uint64_t value) {
        cpu_.hardware().set_debug_register(number, value);
    }

    /// What is read of a device that all processors share stays as it is until `end_update`: the read and the write of
    /// one instruction are one act. The local APIC is nobody else's.
    void begin_update()
        requires Vcpu::is_parallel
    {
        update_.wanted = true;
    }
    void end_update()
        requires Vcpu::is_parallel
    {
        update_.wanted = false;
        if (std::exchange(update_.has_board, false))
            cpu_.machine().leave_board();
    }

    [[nodiscard]] auto read_mmio(gpa address, unsigned size) -> std::uint64_t {
        std::uint64_t value{};
        processor_context local{cpu_};
        if (cpu_.local().read_mmio(local, address.value, size, value))
            return value;
        if constexpr (Vcpu::is_parallel)
            if (update_.wanted and not std::exchange(update_.has_board, true))
                cpu_.machine().enter_board();
        machine_context context{cpu_.machine(), update_.has_board};
        if (cpu_.machine().devices().read_mmio(context, address.value, size, value))
            return value;
        ++cpu_.stats().unclaimed_mmio;
        return ~std::uint64_t{0} >> (64 - 8 * size);
    }

    void write_mmio(gpa address, unsigned size, std::uint64_t value) {
        register_context local{cpu_};
        if (cpu_.local().write_mmio(local, address.value, size, value))
            return;
        machine_context context{cpu_.machine(), update_.has_board};
        if (not cpu_.machine().devices().write_mmio(context, address.value, size, value))
            ++cpu_.stats().unclaimed_mmio;
    }

    [[nodiscard]] auto read_port(std::uint16_t port, unsigned size) -> std::uint32_t {
        return hv::read_port(cpu_, port, size);
    }

    void write_port(std::uint16_t port, unsigned size, std::uint32_t value) { hv::write_port(cpu_, port, size, value); }

  private:
    struct update {
        bool wanted{}, has_board{};
    };
    struct no_update {
        static constexpr bool has_board{false};
    };

    Vcpu& cpu_;
    [[no_unique_address]] std::conditional_t<Vcpu::is_parallel, update, no_update> update_{};
};

} // namespace hv
