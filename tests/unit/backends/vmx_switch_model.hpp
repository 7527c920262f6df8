// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "vmx_model.hpp"

#include <hv/backends/backend.hpp>
#include <hv/backends/vmx.hpp>
#include <hv/event.hpp>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <utility>

namespace hv::test {

/// Through an interrupt gate, unless the program says that the delivery exited.
inline void vmx_model::deliver(vmcs& v) {
    auto const event_field = static_cast<std::uint32_t>(v.at(0x4016));
    if (event_field >> 31 == 0)
        return;
    last_injection = event_field;
    auto const code = (event_field & 0x800) != 0 ? v.at(0x4018) << 32 : 0;
    delivered.push_back(event{code | event_field});
    v.set(0x6820, v.at(0x6820) & ~std::uint64_t{0x200});
    v.set(0x4824, (v.at(0x4824) & ~3ull) | ((event_field >> 8 & 7) == 2 ? 8 : 0));
}

inline auto vmx_model::enter(std::uint64_t* gprs, bool launched, bool mitigates) -> backends::vmx::entry_outcome {
    using backends::vmx::entry_outcome;
    ++entries;
    auto& p = in_operation();
    if (p.current == ~std::uint64_t{0})
        return entry_outcome::vmfail_invalid;
    auto& v = current_vmcs();
    auto const refuse = std::exchange(refuse_with, 0);
    if (auto const error = refuse >> 31 == 0 and refuse != 0 ? refuse : instruction_error(v, launched); error != 0) {
        v.set(0x4400, error);
        return entry_outcome::vmfail_valid;
    }
    if (refuse != 0 or not accepts_guest(v)) {
        v.set(0x4402, refuse != 0 ? refuse : 0x8000'0021);
        v.set(0x6400, 0);
        return entry_outcome::exited;
    }
    v.launched = true;
    p.speculation.run(mitigates, p.current, gprs[16], 0);
    for (std::uint32_t const e : {0x2400u, 0x4406u, 0x440au, 0x440cu, 0x440eu, 0x6400u, 0x640au})
        v.set(e, garbage);
    v.set(0x4404, 0);
    v.set(0x4408, 0);
    guest g{*this, p, v, gprs};
    deliver(v);
    auto const primary = v.at(0x4002), flags = v.at(0x6820), state = v.at(0x4824);
    bool const shadow{(state & 3) != 0};
    if ((primary & 1u << 22) != 0 and (state & 0xa) == 0) // a shadow of STI does not hold it back
        g.exit(8);
    else if ((primary & 1u << 2) != 0 and (flags & 0x200) != 0 and not shadow)
        g.exit(7);
    else if (next)
        std::exchange(next, {})(g);
    else
        g.exit(2);
    v.set(0x4016, v.at(0x4016) & 0x7fff'ffff);
    if (g.length != 0)
        v.set(0x440c, g.length);
    p.debug_control = 0x400;
    return entry_outcome::exited;
}

/// What basic_vmx takes for its world switch.
struct modelled_vmx_switch {
    static inline vmx_model* model{};
    using host_state = backends::vmx::host_state;

    template <bool Mitigates>
    [[nodiscard]] static auto enter(std::uint64_t* gprs, bool launched, std::uint64_t* host_rsp) {
        *host_rsp = 1;
        return model->enter(gprs, launched, Mitigates);
    }
    [[nodiscard]] static auto vmxon(hpa region) { return model->vmxon(region); }
    static void vmxoff() { model->vmxoff(); }
    [[nodiscard]] static auto vmclear(hpa v) { return model->vmclear(v); }
    [[nodiscard]] static auto vmptrld(hpa v) { return model->vmptrld(v); }
    [[nodiscard]] static auto vmread(std::uint64_t e) { return model->vmread(static_cast<std::uint32_t>(e)); }
    [[nodiscard]] static auto vmread_certain(std::uint64_t e) -> std::uint64_t { return vmread(e); }
    static void vmread_into(std::uint64_t& value, std::uint64_t e) { value = vmread(e); }
    static void vmwrite_certain(std::uint64_t e, std::uint64_t value) {
        if (not model->vmwrite(static_cast<std::uint32_t>(e), value))
            throw std::logic_error{"VMWRITE of a field that was said to be there"};
    }
    [[nodiscard]] static auto vmwrite(std::uint64_t e, std::uint64_t value) {
        return model->vmwrite(static_cast<std::uint32_t>(e), value);
    }
    static void invept(backends::vmx::invept_type type, std::uint64_t pointer) {
        model->invept(static_cast<std::uint64_t>(type), pointer);
    }
    static void invvpid(backends::vmx::invvpid_type type, std::uint16_t vpid) {
        model->invvpid(static_cast<std::uint64_t>(type), vpid);
    }
    static void forward_nmi() { ++model->current().nmis; }
    [[nodiscard]] static auto read_host_state() -> host_state {
        auto const& p = model->current();
        return {.cr0 = p.cr0,
                .cr3 = p.cr3,
                .cr4 = p.cr4,
                .selectors = {0x10, 8, 0x10, 0x2b, 0, 0, 0x18},
                .tr_base = 0x4000,
                .gdtr_base = 0x5000,
                .idtr_base = 0x6000,
                .gdtr_limit = 0x27,
                .idtr_limit = 0xfff};
    }
    static void restore_descriptor_tables(host_state const&) {}
    static void write_cr0(std::uint64_t v) { model->current().cr0 = v; }
    static void write_cr4(std::uint64_t v) { model->current().cr4 = v; }
    [[nodiscard]] static auto read_cr2() { return model->current().cr2; }
    static void write_cr2(std::uint64_t v) { model->current().cr2 = v; }
    static void write_msr(std::uint32_t index, std::uint64_t v) { model->current().speculation.write_msr(index, v); }
    [[nodiscard]] static auto read_msr(std::uint32_t index) { return model->read_msr(index); }
    [[nodiscard]] static auto read_debug_registers() { return model->current().debug_addresses; }
    static void write_debug_registers(std::array<std::uint64_t, 4> const& d) { model->current().debug_addresses = d; }
    [[nodiscard]] static auto read_debug_status() { return model->current().debug_status; }
    static void write_debug_status(std::uint64_t v) { model->current().debug_status = v; }
    [[nodiscard]] static auto read_debug_control() { return model->current().debug_control; }
    static void write_debug_control(std::uint64_t v) { model->current().debug_control = v; }
    [[nodiscard]] static auto read_xcr0() { return model->current().xcr0; }
    static void write_xcr0(std::uint64_t v) { model->current().xcr0 = v; }
};

using modelled_vmx = basic_vmx<modelled_vmx_switch>;
static_assert(hardware_backend<modelled_vmx, hosted::host>);

} // namespace hv::test
