// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/decode.hpp>
#include <hv/emulate/guest_access.hpp>

#include <cstdint>
#include <span>

namespace hv {

namespace detail {

/// An instruction from guest memory.
struct fetched {
    decoded instruction{};
    instruction_bytes bytes{};
    obstacle stop{};
};

/// Reads the linear address of RIP. `left` is how many bytes the code segment has there, at most 15.
template <emulation_cpu Cpu>
auto code_address(Cpu const& cpu, code_size mode, gva& linear, unsigned& left) -> obstacle {
    auto const rip = cpu.rip();
    left = longest_instruction;
    if (mode == code_size::bits_64) {
        linear = gva{rip};
        return is_canonical(rip) ? obstacle{} : obstacle::general_protection();
    }
    auto const cs = cpu.segment(x86::segment_name::cs);
    auto const eip = rip & 0xffff'ffff;
    if (eip > cs.limit)
        return obstacle::general_protection();
    if (cs.limit - eip < longest_instruction)
        left = static_cast<unsigned>(cs.limit - eip + 1);
    linear = gva{(cs.base + eip) & 0xffff'ffff};
    return {};
}

/// The bytes at RIP, to the end of their page, if that is 64-bit code whose page is known and still where it was. A
/// processor that remembers has `recent_code`, and `walk_to_code` to learn a page.
template <emulation_cpu Cpu>
[[nodiscard, gnu::always_inline]] inline auto recent_code(Cpu& cpu, [[maybe_unused]] code_size mode)
    -> std::byte const* {
    if constexpr (requires { cpu.recent_code(); }) {
        if (mode != code_size::bits_64)
            return nullptr;
        if (auto const* const code = cpu.recent_code()) [[likely]]
            return code;
        return is_canonical(cpu.rip()) ? cpu.walk_to_code(paging_of(cpu), gva{cpu.rip()}) : nullptr;
    } else {
        return nullptr;
    }
}

/// Fetches and decodes the instruction at CS:RIP. It goes to a second page only for bytes that the instruction has.
template <emulation_cpu Cpu>
[[nodiscard]] auto fetch(Cpu& cpu, code_size mode) -> fetched {
    fetched f{};
    gva start{};
    unsigned left{};
    f.stop = code_address(cpu, mode, start, left);
    if (f.stop)
        return f;
    auto const paging = paging_of(cpu);
    unsigned count{0};
    do {
        auto linear = start + count;
        auto const* code = count == 0 ? recent_code(cpu, mode) : nullptr;
        if (code == nullptr) {
            if (mode != code_size::bits_64)
                linear.value &= 0xffff'ffff;
            else if (not is_canonical(linear.value))
                f.stop = obstacle::general_protection();
            gpa physical{};
            if (not f.stop)
                f.stop = translate_page(cpu, paging, linear, access::execute, physical);
            if (f.stop)
                return f;
            code = cpu.memory().at(physical, access::execute);
            if (code == nullptr) {
                f.stop = {outcome_kind::unsupported};
                return f;
            }
        }
        auto const in_page = page_size - linear.page_offset();
        for (unsigned i{0}; i < in_page and count < left; ++i)
            f.bytes.bytes[count++] = std::to_integer<std::uint8_t>(code[i]);
        f.bytes.count = static_cast<std::uint8_t>(count);
        f.instruction = decode(std::span{f.bytes.bytes}.first(count), mode);
    } while (f.instruction.status == decode_status::truncated and count < left);
    if (f.instruction.status == decode_status::truncated)
        f.stop = obstacle::general_protection(); // it goes on behind the segment's limit
    return f;
}

/// What a decoding that is not `ok` means to the guest.
[[nodiscard]] constexpr auto obstacle_of(decode_status status) -> obstacle {
    switch (status) {
    case decode_status::ok:
        return {};
    case decode_status::undefined:
        return obstacle::undefined();
    case decode_status::too_long:
        return obstacle::general_protection();
    default:
        return {outcome_kind::unsupported};
    }
}

/// Length of the instructions that exit most, from their first bytes; 0: look closer. No prefix but 66 is here, so
/// the mode does not matter.
[[nodiscard]] constexpr auto common_length(std::uint8_t first, std::uint8_t second, std::uint8_t third) -> unsigned {
    unsigned const prefix{first == 0x66 ? 1u : 0u};
    if (prefix != 0) {
        first = second;
        second = third;
    }
    if (first == 0x0f and (second == 0xa2 or (second & 0xfc) == 0x30))
        return prefix + 2; // CPUID; WRMSR, RDTSC, RDMSR, RDPMC
    if (prefix == 0 and first == 0x0f and second == 0x01 and (third == 0xc1 or third == 0xd9))
        return 3; // VMCALL, VMMCALL
    if ((first & 0xfc) == 0xec or first == 0xf4)
        return prefix + 1; // IN and OUT with DX, HLT
    if ((first & 0xfc) == 0xe4)
        return prefix + 2; // IN and OUT with an immediate port
    return 0;
}

[[nodiscard]] inline auto common_length_of(std::byte const* code) -> unsigned {
    auto const byte = [code](unsigned i) { return std::to_integer<std::uint8_t>(code[i]); };
    return common_length(byte(0), byte(1), byte(2));
}

/// 0 where the first three bytes are not in one page, or not there.
template <emulation_cpu Cpu>
[[nodiscard]] auto common_length_at_rip(Cpu& cpu, code_size mode) -> unsigned {
    gva linear{};
    unsigned left{};
    if (code_address(cpu, mode, linear, left) or left < 3 or linear.page_offset() > page_size - 3)
        return 0;
    if (auto const* const code = recent_code(cpu, mode))
        return common_length_of(code);
    auto const walk = translate(cpu.memory(), paging_of(cpu), linear, access::execute);
    auto const* const code = walk.ok ? cpu.memory().at(walk.address, access::execute) : nullptr;
    return code == nullptr ? 0 : common_length_of(code);
}

} // namespace detail

/// The length of an instruction, or why there is none.
struct [[nodiscard]] length_or_obstacle {
    std::uint8_t length{}; ///< 0: see `stop`
    obstacle stop{};
};

/// How long the instruction at CS:RIP is, for processors whose exits do not tell. Another processor of the guest may
/// have changed the bytes since the exit; the answer is about what they are now.
template <emulation_cpu Cpu>
auto instruction_length(Cpu& cpu) -> length_or_obstacle {
    auto const mode = detail::code_size_of(cpu);
    if (auto const length = detail::common_length_at_rip(cpu, mode); length != 0)
        return {static_cast<std::uint8_t>(length)};
    auto const f = detail::fetch(cpu, mode);
    if (f.stop)
        return {0, f.stop};
    if (auto const stop = detail::obstacle_of(f.instruction.status))
        return {0, stop};
    return {f.instruction.length};
}

/// The same in 64-bit code whose page is known, for an instruction of which the exit tells its opcode, of `length`
/// bytes with the first 0Fh: where that is the first byte at RIP there is no prefix. 0: ask `instruction_length`.
template <emulation_cpu Cpu>
[[nodiscard, gnu::always_inline]] inline auto instruction_length_at_once(Cpu& cpu, [[maybe_unused]] std::uint8_t length)
    -> std::uint8_t {
    if constexpr (requires { cpu.recent_code(); })
        if (auto const* const code = cpu.recent_code(); code != nullptr and *code == std::byte{0x0f}) [[likely]]
            return length;
    return 0;
}

/// Whether the instruction at CS:RIP is a MOV to or from a control register.
template <emulation_cpu Cpu>
[[nodiscard]] auto is_control_register_move_at_rip(Cpu& cpu) -> bool {
    auto const f = detail::fetch(cpu, detail::code_size_of(cpu));
    return not f.stop and f.instruction.status == decode_status::ok and f.instruction.op == operation::mov_control;
}

} // namespace hv
