// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/arithmetic.hpp>
#include <hv/emulate/cpu.hpp>
#include <hv/emulate/outcome.hpp>

#include <cstddef>
#include <cstdint>

namespace hv::detail {

/// Where the bytes of an operand lie after translation: in one page, or in the end of one and the start of another.
struct place {
    gpa first{};
    gpa second{};
    std::uint8_t size{};
    std::uint8_t first_size{};
};

/// Segmentation: the linear address of `size` bytes at `offset`, or the #SS, #GP or #AC that forbids the access.
/// SDM Vol. 3A, "Limit Checking", "Type Checking" and "Alignment Check Exception".
template <emulation_cpu Cpu>
auto segment_address(Cpu const& cpu, code_size mode, x86::segment_name name, std::uint64_t offset, unsigned size,
                     access wanted, gva& linear) -> obstacle {
    namespace bit = x86::segment_access;
    auto const forbidden = obstacle::fault(
        name == x86::segment_name::ss ? x86::exception::stack_fault : x86::exception::general_protection, 0);
    if (mode == code_size::bits_64) {
        auto const has_base = name == x86::segment_name::fs or name == x86::segment_name::gs;
        linear = gva{offset + (has_base ? cpu.segment(name).base : 0)};
        if (not is_canonical(linear.value) or not is_canonical(linear.value + size - 1))
            return forbidden;
    } else {
        auto const segment = cpu.segment(name);
        auto const is_code = (segment.access & bit::code) != 0;
        if (has_protection(cpu)) {
            if ((segment.access & bit::unusable) != 0)
                return forbidden;
            auto const may_read = not is_code or (segment.access & bit::writable) != 0;
            auto const may_write = not is_code and (segment.access & bit::writable) != 0;
            if (includes(wanted, access::write) ? not may_write : not may_read)
                return forbidden;
        }
        std::uint64_t first{0};
        std::uint64_t last{segment.limit};
        if (not is_code and (segment.access & bit::expand_down) != 0) {
            first = last + 1;
            last = (segment.access & bit::default_big) != 0 ? 0xffff'ffff : 0xffff;
        }
        if (offset < first or offset + size - 1 > last)
            return forbidden;
        linear = gva{(segment.base + offset) & 0xffff'ffff};
    }
    auto const misaligned = (linear.value & (size - 1)) != 0;
    if (misaligned and cpu.cpl() == 3 and (cpu.cr0() & x86::cr0::am) != 0 and (cpu.rflags() & x86::rflags::ac) != 0)
        return obstacle::fault(x86::exception::alignment_check, 0);
    return {};
}

template <emulation_cpu Cpu>
auto translate_page(Cpu& cpu, paging_state const& paging, gva linear, access wanted, gpa& physical) -> obstacle {
    auto const walk = translate(cpu.memory(), paging, linear, wanted);
    if (walk.ok) {
        physical = walk.address;
        return {};
    }
    switch (walk.failure) {
    case translation_failure::contended:
        return {outcome_kind::again};
    case translation_failure::page_fault: {
        auto fault = obstacle::fault(x86::exception::page_fault, walk.error_code);
        fault.qualification = linear.value;
        return fault;
    }
    default:
        return {outcome_kind::unsupported};
    }
}

/// Finds all bytes of an access before any of them is touched.
template <emulation_cpu Cpu>
auto translate_bytes(Cpu& cpu, paging_state const& paging, gva linear, unsigned size, access wanted, place& where)
    -> obstacle {
    auto const in_page = page_size - linear.page_offset();
    where.size = static_cast<std::uint8_t>(size);
    where.first_size = static_cast<std::uint8_t>(in_page < size ? in_page : size);
    if (auto const stop = translate_page(cpu, paging, linear, wanted, where.first))
        return stop;
    if (where.first_size == size)
        return {};
    auto next = linear + in_page;
    if ((paging.efer & x86::efer::lma) == 0)
        next.value &= 0xffff'ffff;
    return translate_page(cpu, paging, next, wanted, where.second);
}

/// The largest naturally aligned access at `address` within `left` bytes.
[[nodiscard]] constexpr auto natural_piece(gpa address, unsigned left) -> unsigned {
    unsigned size{8};
    while (size > left or (address.value & (size - 1)) != 0)
        size /= 2;
    return size;
}

/// Bytes of guest memory as one access where the size allows, so that other processors see no halves.
[[nodiscard]] inline auto load(std::byte const* from, unsigned size) -> std::uint64_t {
    std::uint64_t value{};
    switch (size) {
    case 1:
        __builtin_memcpy(&value, from, 1);
        break;
    case 2:
        __builtin_memcpy(&value, from, 2);
        break;
    case 4:
        __builtin_memcpy(&value, from, 4);
        break;
    case 8:
        __builtin_memcpy(&value, from, 8);
        break;
    default:
        for (unsigned i{0}; i < size; ++i)
            value |= std::to_integer<std::uint64_t>(from[i]) << (8 * i);
    }
    return value;
}

inline void store(std::byte* to, unsigned size, std::uint64_t value) {
    switch (size) {
    case 1:
        __builtin_memcpy(to, &value, 1);
        break;
    case 2:
        __builtin_memcpy(to, &value, 2);
        break;
    case 4:
        __builtin_memcpy(to, &value, 4);
        break;
    case 8:
        __builtin_memcpy(to, &value, 8);
        break;
    default:
        for (unsigned i{0}; i < size; ++i)
            to[i] = static_cast<std::byte>(value >> (8 * i));
    }
}

template <emulation_cpu Cpu>
[[nodiscard, gnu::cold]] auto read_piece(Cpu& cpu, gpa address, unsigned size) -> std::uint64_t {
    if (auto const* const ram = cpu.memory().at(address, access::read))
        return load(ram, size);
    std::uint64_t value{};
    for (unsigned done{0}; done < size and not is_pending(cpu);) {
        auto const piece = natural_piece(address + done, size - done);
        auto const bytes = cpu.read_mmio(address + done, piece);
        value |= arithmetic::truncate(bytes, piece) << (8 * done);
        done += piece;
    }
    return value;
}

template <emulation_cpu Cpu>
[[gnu::cold]] void write_device(Cpu& cpu, gpa address, unsigned size, std::uint64_t value) {
    for (unsigned done{0}; done < size and not is_pending(cpu);) {
        auto const piece = natural_piece(address + done, size - done);
        cpu.write_mmio(address + done, piece, arithmetic::truncate(value >> (8 * done), piece));
        done += piece;
    }
}

/// Reads a place; after it `is_pending` may be true, and the value means nothing.
template <emulation_cpu Cpu>
[[nodiscard]] auto read(Cpu& cpu, place const& where) -> std::uint64_t {
    auto value = read_piece(cpu, where.first, where.first_size);
    if (where.first_size != where.size and not is_pending(cpu))
        value |= read_piece(cpu, where.second, where.size - where.first_size) << (8 * where.first_size);
    return value;
}

/// Writes a place. Devices come before memory: a write that must wait has then changed nothing that a repetition reads.
template <emulation_cpu Cpu>
[[gnu::cold]] void write(Cpu& cpu, place const& where, std::uint64_t value) {
    auto& memory = cpu.memory();
    auto const rest = static_cast<unsigned>(where.size - where.first_size);
    auto const second_value = rest == 0 ? 0 : value >> (8 * where.first_size);
    auto* const first = memory.at(where.first, access::write);
    auto* const second = rest == 0 ? nullptr : memory.at(where.second, access::write);
    if (first == nullptr)
        write_device(cpu, where.first, where.first_size, value);
    if (rest != 0 and second == nullptr)
        write_device(cpu, where.second, rest, second_value);
    if (is_pending(cpu))
        return;
    if (first != nullptr)
        store(first, where.first_size, value);
    if (second != nullptr)
        store(second, rest, second_value);
}

} // namespace hv::detail
