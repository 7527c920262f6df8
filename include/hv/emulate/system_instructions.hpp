// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/executor.hpp>

#include <cstdint>

namespace hv::detail {

inline constexpr std::uint64_t dr6_bd{1u << 13}; ///< SDM Vol. 3B, "Debug Status Register (DR6)"
inline constexpr std::uint64_t dr7_gd{1u << 13};

/// MOV to and from CR0, CR2, CR3, CR4, CR8. What a value may be is the processor's to say.
template <emulation_cpu Cpu>
auto move_control(executor<Cpu>& e) -> obstacle {
    auto const& i = e.i;
    if (e.cpu.cpl() != 0)
        return obstacle::general_protection();
    if (i.destination.kind == operand_kind::control_register) {
        if (not e.cpu.write_control_register(i.destination.number, e.load(i.source)))
            return obstacle::general_protection();
    } else {
        e.store(i.destination, e.cpu.read_control_register(i.source.number));
    }
    return {};
}

/// MOV to and from debug registers. SDM Vol. 3B, "Debug Registers"; the checks in the order of the processor, which
/// exits before it looks at DR7.GD.
template <emulation_cpu Cpu>
[[gnu::cold]] auto move_debug(executor<Cpu>& e) -> obstacle {
    auto const& i = e.i;
    auto const to = i.destination.kind == operand_kind::debug_register;
    unsigned number{to ? i.destination.number : i.source.number};
    if (number == 4 or number == 5) {
        if ((e.cpu.cr4() & x86::cr4::de) != 0)
            return obstacle::undefined();
        number += 2;
    }
    if (e.cpu.cpl() != 0)
        return obstacle::general_protection();
    if ((e.cpu.read_debug_register(7) & dr7_gd) != 0) {
        auto fault = obstacle::fault(x86::exception::debug);
        fault.qualification = dr6_bd;
        return fault;
    }
    if (not to) {
        e.store(i.destination, e.cpu.read_debug_register(number));
        return {};
    }
    auto const value = e.load(i.source);
    if (number >= 6 and value >> 32 != 0)
        return obstacle::general_protection();
    e.cpu.write_debug_register(number, value);
    return {};
}

/// SMSW, LMSW and CLTS: the part of CR0 that the 80286 had.
template <emulation_cpu Cpu>
[[gnu::cold]] auto machine_status_word(executor<Cpu>& e) -> obstacle {
    auto const& i = e.i;
    auto const privileged = i.op != operation::smsw or (e.cpu.cr4() & x86::cr4::umip) != 0;
    if (privileged and e.cpu.cpl() != 0)
        return obstacle::general_protection();
    auto const word = i.op == operation::smsw ? access::write : access::read;
    if (e.is_memory(i.destination))
        if (auto const stop = e.locate_operand(e.effective_address(), 2, word))
            return stop;
    auto const cr0 = e.cpu.read_control_register(0);
    if (i.op == operation::smsw) {
        e.store(i.destination, cr0);
        return is_pending(e.cpu) ? e.wait : obstacle{};
    }
    auto wanted = cr0 & ~x86::cr0::ts;
    if (i.op == operation::lmsw) {
        auto const value = e.load(i.destination);
        if (is_pending(e.cpu))
            return e.wait;
        constexpr auto word_bits = x86::cr0::mp | x86::cr0::em | x86::cr0::ts;
        wanted = (cr0 & ~word_bits) | (value & (word_bits | x86::cr0::pe)); // sets PE, never clears it
    }
    return e.cpu.write_control_register(0, wanted) ? obstacle{} : obstacle::general_protection();
}

/// Whether the task may use these ports: its I/O privilege level, then the bitmap in its TSS.
/// SDM Vol. 1, "I/O Permission Bit Map".
template <emulation_cpu Cpu>
[[gnu::cold]] auto check_ports(executor<Cpu>& e, std::uint16_t port, unsigned size) -> obstacle {
    if ((e.cpu.cr0() & x86::cr0::pe) == 0)
        return {};
    auto const level = (e.flags & x86::rflags::iopl) >> 12;
    if ((e.flags & x86::rflags::vm) == 0 and e.cpu.cpl() <= level)
        return {};
    auto const tss = e.cpu.segment(x86::segment_name::tr);
    constexpr std::uint32_t map_base{0x66};
    auto const type = tss.access & x86::segment_access::type;
    if ((tss.access & x86::segment_access::unusable) != 0 or (type | 2) != 11 or tss.limit < map_base + 1)
        return obstacle::general_protection(); // a 16-bit TSS has no bitmap
    auto paging = e.paging;
    paging.cpl = 0;
    paging.rflags &= ~x86::rflags::ac;
    auto const word = [&](std::uint64_t offset, std::uint64_t& value) -> obstacle {
        auto linear = gva{tss.base + offset};
        if ((paging.efer & x86::efer::lma) == 0)
            linear.value &= 0xffff'ffff;
        place where{};
        if (auto const stop = translate_bytes(e.cpu, paging, linear, 2, access::read, where))
            return stop;
        value = read(e.cpu, where);
        return is_pending(e.cpu) ? e.wait : obstacle{};
    };
    std::uint64_t base{};
    if (auto const stop = word(map_base, base))
        return stop;
    auto const at = base + port / 8u;
    if (at + 1 > tss.limit) // two bytes are always read
        return obstacle::general_protection();
    std::uint64_t map{};
    if (auto const stop = word(at, map))
        return stop;
    auto const forbidden = (map >> (port % 8) & ((1u << size) - 1)) != 0;
    return forbidden ? obstacle::general_protection() : obstacle{};
}

/// IN and OUT.
template <emulation_cpu Cpu>
[[gnu::cold]] auto port_access(executor<Cpu>& e) -> obstacle {
    auto const& i = e.i;
    auto const in = i.op == operation::in;
    auto const& port_operand = in ? i.source : i.destination;
    auto const port =
        static_cast<std::uint16_t>(port_operand.kind == operand_kind::immediate ? i.immediate : e.load(port_operand));
    if (auto const stop = check_ports(e, port, i.operand_size))
        return stop;
    if (in) {
        auto const value = e.cpu.read_port(port, i.operand_size);
        if (is_pending(e.cpu))
            return e.wait;
        e.store(i.destination, value);
        return {};
    }
    e.cpu.write_port(port, i.operand_size, static_cast<std::uint32_t>(e.load(i.source)));
    return is_pending(e.cpu) ? e.wait : obstacle{};
}

} // namespace hv::detail
