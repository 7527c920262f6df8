// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "speculation_model.hpp"
#include "vmx_translations.hpp"

#include <hv/backends/vmx.hpp>
#include <hv/event.hpp>
#include <kernel_glue/hosted/host.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace hv::test {

/// A VMX processor of the strictest kind that the manual allows. A VMCS lives in the processor that loaded it until
/// VMCLEAR, fields that nobody wrote hold garbage, and so do exit fields that an exit does not define; translations
/// stay until INVEPT or INVVPID; nothing is switched that entries and exits do not switch. It refuses by its own
/// checks. Numbers here are written down a second time on purpose. SDM Vol. 3C.
class vmx_model {
  public:
    static constexpr std::uint32_t revision{0x2b};
    static constexpr std::uint64_t garbage{0x5a5a'5a5a'5a5a'5a5a};

    struct vmcs {
        std::map<std::uint32_t, std::uint64_t> fields{};
        std::optional<unsigned> active{}; ///< on which processor
        bool launched{};

        [[nodiscard]] auto at(std::uint32_t encoding) const -> std::uint64_t {
            auto const found = fields.find(encoding);
            return found == fields.end() ? trimmed(encoding, garbage) : found->second;
        }
        void set(std::uint32_t encoding, std::uint64_t value) { fields[encoding] = trimmed(encoding, value); }
        [[nodiscard]] static auto trimmed(std::uint32_t encoding, std::uint64_t value) -> std::uint64_t {
            auto const width = encoding >> 13 & 3;
            return width == 0 ? value & 0xffff : width == 2 ? value & 0xffff'ffff : value;
        }
    };

    struct logical_processor {
        bool in_vmx_operation{};
        std::uint64_t current{~std::uint64_t{0}}; ///< physical address of the VMCS
        std::uint64_t cr0{0x8001'0033}, cr3{0x1000}, cr4{0x620}, cr2{0x7777};
        std::array<std::uint64_t, 4> debug_addresses{};
        std::uint64_t debug_status{0xffff'0ff0}, debug_control{0x400}, xcr0{7};
        vmx_translations translations{};
        unsigned invepts{}, invvpids{}, nmis{};
        speculation_model speculation{};
    };

    /// What a guest program sees and does between VM entry and VM exit.
    struct guest {
        vmx_model& model;
        logical_processor& processor;
        vmcs& state;
        std::uint64_t* gprs;
        std::uint8_t length{}; ///< of the instruction that exits

        void exit(std::uint32_t reason, std::uint64_t qualification = garbage) {
            state.set(0x4402, reason);
            state.set(0x6400, qualification);
        }
        void exit_by_event(std::uint32_t information, std::uint64_t qualification = garbage) {
            exit(0, qualification);
            state.set(0x4404, information);
        }
        /// Host-physical address of guest memory; without one the exit is an EPT violation.
        [[nodiscard]] auto reach(gpa address, access wanted) -> std::optional<hpa> {
            vmx_translations::fault why;
            auto const rights = static_cast<std::uint64_t>(wanted);
            auto const where = processor.translations.translate(model.host_, static_cast<std::uint16_t>(state.at(0)),
                                                                state.at(0x201a), address, rights, why);
            if (not where) {
                exit(48, rights | why.permissions << 3 | 0x180);
                state.set(0x2400, address.value);
                length = 0;
            }
            return where;
        }
    };
    using program = std::function<void(guest&)>;

    explicit vmx_model(hosted::host& host, unsigned count = 2) : processors(count), host_{host} {}

    std::vector<logical_processor> processors;
    program next{};                    ///< executed by the next entry
    std::vector<event> delivered{};    ///< events that reached the guest
    std::uint32_t last_injection{};    ///< as VM entry had it
    std::uint64_t entries{}, writes{}; ///< VM entries; VMWRITEs but of the timer, which each entry starts anew
    std::uint64_t refuse_with{};       ///< the next entry fails: an instruction error, or an exit reason with bit 31

    [[nodiscard]] auto current() -> logical_processor& { return processors.at(host_.processor()); }
    [[nodiscard]] auto current_vmcs() -> vmcs& { return regions_.at(in_operation().current); }

    /// What CPUID and the capability MSRs say.
    void describe() {
        host_.set_cpuid(0, 0, {.eax = 0x16});
        host_.set_cpuid(1, 0, {.ecx = 1u << 27 | 1u << 26 | 1u << 5});
        host_.set_cpuid(0x8000'0000, 0, {.eax = 0x8000'0008});
        host_.set_cpuid(0x8000'0001, 0, {.edx = 1u << 27});
        host_.set_cpuid(0x8000'0008, 0, {.eax = 39});
        auto const controls = [](std::uint64_t may, std::uint64_t must) { return may << 32 | must; };
        host_.set_msr(0x3a, 5);
        host_.set_msr(0x480, revision | 0x1000ull << 32 | 6ull << 50 | 1ull << 54 | 1ull << 55);
        host_.set_msr(0x481, controls(0x7f, 0x16));
        host_.set_msr(0x482, controls(0xfff9'fffe, 0x0401'e172));
        host_.set_msr(0x483, controls(0x007f'ffff, 0x0003'6dff));
        host_.set_msr(0x484, controls(0x0000'ffff, 0x0000'11ff));
        host_.set_msr(0x485, 0x4000'01e0);
        host_.set_msr(0x486, 0x8000'0021);
        host_.set_msr(0x487, 0xffff'ffff);
        host_.set_msr(0x488, 0x2000);
        host_.set_msr(0x489, 0x0037'67ff);
        host_.set_msr(0x48b, controls(0x0217'dfff, 0));
        host_.set_msr(0x48c, 0x0f01'0633'4141);
        host_.set_msr(0x48d, controls(0x7f, 0x16));
        host_.set_msr(0x48e, controls(0xfff9'fffe, 0x0400'6172));
        host_.set_msr(0x48f, controls(0x007f'ffff, 0x0003'6dfb));
        host_.set_msr(0x490, controls(0x0000'ffff, 0x0000'11fb));
        for (auto const index : {0x174u, 0x175u, 0x176u, 0x277u, 0xc000'0081u, 0xc000'0082u, 0xc000'0083u, 0xc000'0084u,
                                 0xc000'0100u, 0xc000'0101u, 0xc000'0102u, 0xc000'0103u})
            host_.set_msr(index, 0x1000 + (index & 0xff));
        host_.set_msr(0x277, 0x0007'0406'0007'0406);
        host_.set_msr(0xc000'0080, 0xd01);
    }

    // Instructions.

    [[nodiscard]] auto vmxon(hpa region) -> bool {
        auto& p = current();
        if ((p.cr4 & 0x2000) == 0 or (p.cr0 & 0x8000'0021) != 0x8000'0021 or (host_.read_msr(0x3a).value & 5) != 5)
            throw std::logic_error{"VMXON: #GP or #UD"};
        if (p.in_vmx_operation or *static_cast<std::uint32_t*>(host_.pointer(region)) != revision)
            return false;
        p.in_vmx_operation = true;
        p.current = ~std::uint64_t{0};
        return true;
    }
    void vmxoff() {
        for (auto const& [where, region] : regions_)
            if (region.active == host_.processor())
                throw std::logic_error{"VMXOFF with a VMCS that was not cleared"};
        in_operation().in_vmx_operation = false;
    }
    [[nodiscard]] auto vmclear(hpa where) -> bool {
        auto& p = in_operation();
        auto& region = regions_[where.value];
        if (region.active and *region.active != host_.processor())
            throw std::logic_error{"VMCLEAR of a VMCS that another processor works with"};
        region.active.reset();
        region.launched = false;
        if (p.current == where.value)
            p.current = ~std::uint64_t{0};
        return true;
    }
    [[nodiscard]] auto vmptrld(hpa where) -> bool {
        auto& p = in_operation();
        auto& region = regions_[where.value];
        if (region.active and *region.active != host_.processor())
            throw std::logic_error{"VMPTRLD of a VMCS that another processor works with"};
        if (*static_cast<std::uint32_t*>(host_.pointer(where)) != revision)
            return false;
        region.active = host_.processor();
        p.current = where.value;
        return true;
    }
    [[nodiscard]] auto vmread(std::uint32_t encoding) -> std::uint64_t { return current_vmcs().at(encoding); }
    [[nodiscard]] auto vmwrite(std::uint32_t encoding, std::uint64_t value) -> bool {
        writes += encoding != 0x482e ? 1 : 0;
        if ((encoding >> 10 & 3) == 1 or not has_field(encoding))
            return false; // read-only
        if (vmcs::trimmed(encoding, value) != value)
            throw std::logic_error{"VMWRITE of a value wider than its field"};
        current_vmcs().set(encoding, value);
        return true;
    }
    void invept(std::uint64_t type, std::uint64_t pointer) {
        auto& p = in_operation();
        ++p.invepts;
        type == 1 ? p.translations.invept(pointer) : p.translations.invept_all();
    }
    void invvpid(std::uint64_t type, std::uint16_t vpid) {
        auto& p = in_operation();
        ++p.invvpids;
        type == 1 ? p.translations.invvpid(vpid) : p.translations.invvpid_all();
    }
    [[nodiscard]] auto enter(std::uint64_t* gprs, bool launched, bool mitigates) -> backends::vmx::entry_outcome;
    [[nodiscard]] auto read_msr(std::uint32_t index) -> std::uint64_t { return host_.read_msr(index).value; }

  private:
    /// Some fields exist only beside the control that uses them. SDM Vol. 3D, Appendix B.
    [[nodiscard]] auto has_field(std::uint32_t encoding) -> bool {
        auto const may_be_set = [this](std::uint32_t capabilities, unsigned bit) {
            return (host_.read_msr(capabilities).value >> 32 >> bit & 1) != 0;
        };
        switch (encoding) {
        case 0x2014:
            return may_be_set(0x48b, 0);
        case 0x810:
        case 0x201c:
        case 0x201e:
        case 0x2020:
        case 0x2022:
            return may_be_set(0x48b, 9);
        case 0x202c:
            return may_be_set(0x48b, 20);
        case 0x2032:
            return may_be_set(0x48b, 25);
        case 0x4020:
        case 0x4022:
            return may_be_set(0x48b, 10);
        case 0x482e:
            return may_be_set(0x48d, 6);
        default:
            return true;
        }
    }
    [[nodiscard]] auto in_operation() -> logical_processor& {
        auto& p = current();
        if (not p.in_vmx_operation)
            throw std::logic_error{"#UD: a VMX instruction outside VMX operation"};
        return p;
    }
    [[nodiscard]] auto instruction_error(vmcs const& v, bool launched) -> std::uint64_t;
    [[nodiscard]] auto accepts_guest(vmcs const& v) const -> bool;
    void deliver(vmcs& v);

    hosted::host& host_;
    std::map<std::uint64_t, vmcs> regions_{};
};

inline auto vmx_model::instruction_error(vmcs const& v, bool launched) -> std::uint64_t {
    if (launched != v.launched)
        return launched ? 5 : 4;
    auto const allowed = [&](std::uint32_t encoding, std::uint32_t msr) {
        auto const word = v.at(encoding), capability = host_.read_msr(msr).value;
        return (~word & capability & 0xffff'ffff) == 0 and (word & ~(capability >> 32)) == 0;
    };
    bool exact{(host_.read_msr(0x480).value >> 55 & 1) != 0};
    auto const event = v.at(0x4016), type = event >> 8 & 7, vector = event & 0xff;
    bool const protected_mode{(v.at(0x6800) & 1) != 0}, injects{(event >> 31) != 0};
    bool const has_code{type == 3 and protected_mode and (0x0022'7d00u >> (vector & 31) & 1) != 0};
    if (not allowed(0x4000, exact ? 0x48d : 0x481) or not allowed(0x4002, exact ? 0x48e : 0x482) or
        not allowed(0x401e, 0x48b) or not allowed(0x400c, exact ? 0x48f : 0x483) or
        not allowed(0x4012, exact ? 0x490 : 0x484))
        return 7;
    if ((v.at(0x401e) & 1u << 25) != 0 and v.at(0x2032) == 0)
        return 7;
    if (v.at(0x400a) > 4 or (v.at(0x2004) & 0xfff) != 0 or (v.at(0x2012) & 0xfff) != 0 or v.at(0) == 0 or
        (v.at(0x201a) & 0xf3f & ~0x40u) != 0x1e or v.at(0x400e) != 0 or v.at(0x4010) != 0 or v.at(0x4014) != 0)
        return 7;
    auto const vtpr = static_cast<std::uint8_t const*>(host_.pointer(hpa{v.at(0x2012)}))[0x80];
    auto const secondary = v.at(0x401e);
    bool const delivers{(secondary & 0x200) != 0};
    if (not delivers and (v.at(0x401c) > 15 or ((secondary & 1) == 0 and v.at(0x401c) > vtpr >> 4)))
        return 7;
    if ((secondary & 0x11) == 0x11 or (delivers and (v.at(0x4000) & 1) == 0) or
        ((secondary & 1) != 0 and ((v.at(0x2014) & 0xfff) != 0 or v.at(0x2014) >> 39 != 0)))
        return 7;
    if ((v.at(0x4002) & 1u << 22) != 0 and (v.at(0x4000) & 1u << 5) == 0)
        return 7;
    if (injects and
        (type == 1 or type == 7 or (type == 2 and vector != 2) or (type == 3 and vector > 31) or
         has_code != ((event >> 11 & 1) != 0) or (event & 0x7fff'f000) != 0 or (has_code and v.at(0x4018) >> 15 != 0) or
         (type >= 4 and (v.at(0x401a) > 15 or (v.at(0x401a) == 0 and (host_.read_msr(0x485).value >> 30 & 1) == 0)))))
        return 7;
    auto const cr4 = v.at(0x6c04), cr0 = v.at(0x6c00);
    if ((cr4 & 0x2020) != 0x2020 or (cr0 & 0x8000'0021) != 0x8000'0021 or v.at(0xc02) == 0 or v.at(0xc0c) == 0 or
        (v.at(0xc02) & 7) != 0 or (v.at(0xc0c) & 7) != 0 or (v.at(0x2c02) & 0x500) != 0x500 or
        v.at(0x2c00) == garbage or v.at(0x6c0c) == garbage or v.at(0x6c0e) == garbage)
        return 8;
    return 0;
}

inline auto vmx_model::accepts_guest(vmcs const& v) const -> bool {
    auto const cr0 = v.at(0x6800), cr4 = v.at(0x6804), efer = v.at(0x2806), flags = v.at(0x6820);
    bool const long_mode{(v.at(0x4012) & 0x200) != 0};
    auto const event = v.at(0x4016), type = event >> 8 & 7, state = v.at(0x4824);
    bool const injects{(event >> 31) != 0}, takes{(flags & 0x200) != 0};
    if ((cr0 & 0x8000'0001) == 0x8000'0000 or (cr0 & 0x20) == 0 or cr0 >> 32 != 0 or (cr4 & 0x2000) == 0 or
        (cr4 & ~0x37'67ffull) != 0 or v.at(0x681a) >> 32 != 0 or (efer & ~0xd01ull) != 0)
        return false;
    if (((efer & 0x400) != 0) != long_mode or ((cr0 >> 31 & 1) != 0 and ((efer & 0x100) != 0) != long_mode) or
        (long_mode and ((cr4 & 0x20) == 0 or cr0 >> 31 == 0)))
        return false;
    if ((flags & ~0x3f'7fd5ull) != 2 or v.at(0x2800) != ~std::uint64_t{0} or v.at(0x4826) != 0 or
        (state & ~0xbull) != 0)
        return false;
    if ((state & 3) == 3 or ((state & 1) != 0 and not takes))
        return false;
    if (injects and ((type == 0 and (not takes or (state & 3) != 0)) or (type == 2 and (state & 0xa) != 0)))
        return false;
    auto const pending = v.at(0x6822);
    return (state & 3) == 0 or (pending >> 14 & 1) == (flags >> 8 & 1);
}

} // namespace hv::test
