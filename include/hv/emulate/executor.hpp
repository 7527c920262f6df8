// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/arithmetic.hpp>
#include <hv/emulate/breakpoints.hpp>
#include <hv/emulate/guest_access.hpp>

#include <cstdint>

namespace hv::detail {

/// What all instructions share while one of them runs: its operands and the processor's registers. Nothing that the
/// guest sees changes before every access that can fail has been checked.
template <emulation_cpu Cpu>
struct executor {
    Cpu& cpu;
    decoded const& i;
    code_size mode;
    paging_state paging{paging_of(cpu)};
    std::uint64_t flags{cpu.rflags()}; ///< of before the instruction; what `retire` leaves
    place operand_place{};
    unsigned elements{}; ///< of a string, complete
    std::uint64_t debug_control{cpu.read_debug_register(7)};
    std::uint8_t breakpoints{}; ///< that the instruction, or this element of a string, meets

    [[nodiscard]] auto gpr(unsigned number, unsigned size) const -> std::uint64_t {
        return arithmetic::truncate(cpu.gpr(static_cast<x86::gpr>(number)), size);
    }
    [[nodiscard]] auto gpr(x86::gpr name, unsigned size) const -> std::uint64_t {
        return gpr(static_cast<unsigned>(name), size);
    }

    /// 8- and 16-bit results leave the rest of the register alone; 32-bit results clear the upper half.
    void set_gpr(x86::gpr name, unsigned size, std::uint64_t value) {
        value = arithmetic::truncate(value, size);
        if (size < 4)
            value |= cpu.gpr(name) & ~arithmetic::truncate(~0ull, size);
        cpu.set_gpr(name, value);
    }

    [[nodiscard]] auto is_memory(operand const& o) const -> bool { return o.kind == operand_kind::memory; }

    /// The value of an operand. A memory operand has been found before.
    [[nodiscard, gnu::cold]] auto load(operand const& o) -> std::uint64_t {
        switch (o.kind) {
        case operand_kind::gpr:
            return gpr(o.number, o.size);
        case operand_kind::high_byte:
            return gpr(o.number, 2) >> 8;
        case operand_kind::immediate:
            return arithmetic::truncate(i.immediate, i.operand_size);
        case operand_kind::memory:
            return read(cpu, operand_place);
        default:
            return 0;
        }
    }

    /// Stores a result. After a store to memory `is_pending` may be true.
    [[gnu::cold]] void store(operand const& o, std::uint64_t value) {
        auto const name = static_cast<x86::gpr>(o.number);
        if (o.kind == operand_kind::gpr)
            set_gpr(name, o.size, value);
        else if (o.kind == operand_kind::high_byte)
            cpu.set_gpr(name, (cpu.gpr(name) & ~0xff00ull) | (value & 0xff) << 8);
        else if (o.kind == operand_kind::memory)
            write(cpu, operand_place, arithmetic::truncate(value, o.size));
    }

    [[nodiscard]] auto next_rip() const -> std::uint64_t {
        auto const next = cpu.rip() + i.length;
        return mode == code_size::bits_64 ? next : next & 0xffff'ffff;
    }

    /// The offset of the memory operand in its segment. `stack_pointer` stands in for rSP as a base.
    [[nodiscard]] auto effective_address(std::uint64_t stack_pointer) const -> std::uint64_t {
        auto const& m = i.memory;
        auto sum = static_cast<std::uint64_t>(m.displacement);
        if (m.rip_relative)
            sum += next_rip();
        if (m.base == static_cast<std::uint8_t>(x86::gpr::rsp))
            sum += stack_pointer;
        else if (m.base != memory_operand::no_register)
            sum += gpr(m.base, 8);
        if (m.index != memory_operand::no_register)
            sum += gpr(m.index, 8) * m.scale;
        return arithmetic::truncate(sum, i.address_size);
    }
    [[nodiscard]] auto effective_address() const -> std::uint64_t { return effective_address(gpr(x86::gpr::rsp, 8)); }

    /// Checks and translates an access to `size` bytes of a segment.
    [[gnu::cold]] auto locate(x86::segment_name name, std::uint64_t offset, unsigned size, access wanted, place& where)
        -> obstacle {
        gva linear{};
        if (auto const stop = segment_address(cpu, mode, name, offset, size, wanted, linear))
            return stop;
        if ((debug_control & 0xff) != 0) [[unlikely]]
            breakpoints |= breakpoints_met(cpu, debug_control, linear, size, wanted);
        return translate_bytes(cpu, paging, linear, size, wanted, where);
    }
    auto locate_operand(std::uint64_t offset, unsigned size, access wanted) -> obstacle {
        return locate(i.memory.segment, offset, size, wanted, operand_place);
    }

    void set_status_flags(std::uint64_t value, std::uint64_t which = arithmetic::status_flags) {
        flags = (flags & ~which) | (value & which);
    }

    /// Ends an instruction: everything it does to memory is done.
    void retire() {
        cpu.set_rflags(flags & ~x86::rflags::rf);
        cpu.set_rip(next_rip());
        commit();
    }
    void commit() {
        if constexpr (restartable_cpu<Cpu>)
            cpu.accesses_committed();
    }

    static constexpr obstacle wait{outcome_kind::pending};
};

/// While one lives, other processors do not come between a read of a device and the write behind it, where there are
/// others. SDM Vol. 3A, "Locked Atomic Operations".
template <emulation_cpu Cpu>
class device_update {
  public:
    device_update(Cpu& cpu, bool is_one) : cpu_{cpu} {
        if constexpr (updating_cpu<Cpu>)
            if (is_one)
                cpu_.begin_update();
    }
    ~device_update() {
        if constexpr (updating_cpu<Cpu>)
            cpu_.end_update();
    }
    device_update(device_update const&) = delete;
    auto operator=(device_update const&) -> device_update& = delete;

  private:
    Cpu& cpu_;
};

/// Instructions that compute: operands in, result and flags out.
template <emulation_cpu Cpu>
[[gnu::cold]] auto compute(executor<Cpu>& e) -> obstacle {
    using enum operation;
    namespace math = arithmetic;
    auto const& i = e.i;
    auto const size = i.operand_size;
    auto const in_memory = e.is_memory(i.destination);
    auto const stores = i.op != cmp and i.op != test and i.op != bt;
    auto const is_bit_operation = i.op >= bt and i.op <= btc;
    if (in_memory or e.is_memory(i.source)) {
        auto offset = e.effective_address();
        if (is_bit_operation and i.source.kind == operand_kind::gpr) {
            // A register counts bits from the operand on, in both directions. SDM Vol. 2A, "Bit Strings".
            auto const bits = math::sign_extend(e.load(i.source), size);
            auto const log2 = size == 2 ? 4 : size == 4 ? 5 : 6;
            offset = math::truncate(offset + static_cast<std::uint64_t>(bits >> log2) * size, i.address_size);
        }
        auto const bytes = in_memory ? i.destination.size : i.source.size;
        if (auto const stop = e.locate_operand(offset, bytes, in_memory and stores ? access::write : access::read))
            return stop;
    }
    auto const reads_destination = i.op != mov and i.op != movzx and i.op != movsx and i.op != bextr;
    device_update<Cpu> const update{e.cpu, in_memory and stores and reads_destination};
    auto const a = reads_destination ? e.load(i.destination) : 0;
    auto const b = e.load(i.source);
    if (is_pending(e.cpu))
        return e.wait;

    math::result r{};
    auto changed = math::status_flags;
    auto const carry = (e.flags & x86::rflags::cf) != 0;
    auto const bit = 1ull << (b & (8u * size - 1));
    auto accumulator_loads = false;
    switch (i.op) {
    case add:
    case xadd:
        r = math::add(a, b, false, size);
        break;
    case adc:
        r = math::add(a, b, carry, size);
        break;
    case sub:
    case cmp:
        r = math::subtract(a, b, false, size);
        break;
    case sbb:
        r = math::subtract(a, b, carry, size);
        break;
    case neg:
        r = math::subtract(0, a, false, size);
        break;
    case logical_or:
        r = math::logic(a | b, size);
        break;
    case logical_and:
    case test:
        r = math::logic(a & b, size);
        break;
    case logical_xor:
        r = math::logic(a ^ b, size);
        break;
    case inc:
        r = math::increment(a, size);
        changed &= ~x86::rflags::cf;
        break;
    case dec:
        r = math::decrement(a, size);
        changed &= ~x86::rflags::cf;
        break;
    case imul:
        r = math::multiply(i.third.kind == operand_kind::immediate ? i.immediate : a, b, size);
        break;
    case bextr:
        r = math::extract_bits(b, e.load(i.third), size);
        break;
    case bt:
    case bts:
    case btr:
    case btc:
        r.value = i.op == bts ? a | bit : i.op == btr ? a & ~bit : a ^ bit;
        r.flags = (a & bit) != 0 ? x86::rflags::cf : 0;
        changed = x86::rflags::cf;
        break;
    case cmpxchg: {
        auto const accumulator = e.gpr(x86::gpr::rax, size);
        r = math::subtract(accumulator, a, false, size);
        accumulator_loads = accumulator != a;
        r.value = accumulator_loads ? a : b;
        break;
    }
    case logical_not:
        r.value = ~a;
        changed = 0;
        break;
    case movsx:
        r.value = static_cast<std::uint64_t>(math::sign_extend(b, i.source.size));
        changed = 0;
        break;
    case mov:
    case movzx:
    case xchg:
        r.value = b;
        changed = 0;
        break;
    default:
        return {outcome_kind::unsupported};
    }

    if (in_memory and stores) {
        e.store(i.destination, r.value);
        if (is_pending(e.cpu))
            return e.wait;
    }
    if (i.op == xchg or i.op == xadd)
        e.store(i.source, a);
    if (accumulator_loads)
        e.set_gpr(x86::gpr::rax, size, a); // a register destination stays as it is then, upper half included
    else if (not in_memory and stores)
        e.store(i.destination, r.value);
    e.set_status_flags(r.flags, changed);
    return {};
}

} // namespace hv::detail
