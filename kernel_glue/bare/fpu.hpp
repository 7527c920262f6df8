// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "instructions.hpp"

#include <hv/x86/control_registers.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv::bare {

/// Room for a guest's x87, SSE, AVX, AVX-512 and PKRU state, in the layout of FXSAVE or XSAVE. Zero, so that a machine
/// with its areas takes no room in the image file, stands for the state after FNINIT. SDM Vol. 1, "XSAVE Area".
struct alignas(64) fpu_area {
    std::array<std::byte, 2752> bytes{};
    bool is_filled{};
};

/// Has `load` initialise the x87 registers of an area that XSAVE filled, if they are as after FNINIT; the guest cannot
/// tell. QEMU's processors change flags of the first one when they load them, and the first may be at a world switch.
/// SDM Vol. 1, "Operation of XRSTOR".
inline void leave_out_initial_x87(fpu_area& area) {
    constexpr std::size_t mxcsr{24}, registers{32}, sse{160}, states{512};
    constexpr std::byte x87{1};
    constexpr std::uint64_t control_word{0x37f};
    auto const word = [&area](std::size_t at) {
        std::uint64_t value{};
        __builtin_memcpy(&value, &area.bytes[at], sizeof value);
        return value;
    };
    auto differs = word(0) ^ control_word; // and status, tags and opcode are 0
    for (std::size_t at{8}; at != mxcsr; at += 8)
        differs |= word(at);
    for (std::size_t at{registers}; at != sse; at += 8)
        differs |= word(at);
    if (differs == 0)
        area.bytes[states] &= ~x87;
}

/// The registers that only guests use: host code is compiled without them, so nothing of its own has to be kept. `load`
/// and `save` stay functions of their own: hv-verify lets nothing else touch these registers.
class fpu_switch {
  public:
    /// Turns XSAVE on where the processor has it, for all states that fit into an fpu_area.
    void start() {
        constexpr std::uint32_t has_xsave{1u << 26};
        constexpr std::uint64_t x87_sse_avx{7}, wanted{0x2e7}; // and AVX-512 (5-7), PKRU (9)
        write_cr0((read_cr0() | x86::cr0::mp | x86::cr0::ne) & ~(x86::cr0::em | x86::cr0::ts));
        write_cr4(read_cr4() | x86::cr4::osfxsr | x86::cr4::osxmmexcpt);
        if ((cpuid(1).ecx & has_xsave) == 0)
            return;
        write_cr4(read_cr4() | x86::cr4::osxsave);
        auto const supported = cpuid(0xd).eax;
        xcr0_ = supported & wanted;
        write_xcr0(xcr0_);
        if (cpuid(0xd).ebx > sizeof(fpu_area::bytes)) {
            xcr0_ = supported & x87_sse_avx;
            write_xcr0(xcr0_);
        }
    }

    /// What XCR0 is while the host runs; 0 without XSAVE.
    [[nodiscard]] auto xcr0() const -> std::uint64_t { return xcr0_; }

    [[gnu::noinline]] void load(fpu_area& area) const {
        if (not area.is_filled) {
            area.bytes[0] = std::byte{0x7f}; // FCW 0x37f
            area.bytes[1] = std::byte{0x03};
            area.bytes[24] = std::byte{0x80}; // MXCSR 0x1f80
            area.bytes[25] = std::byte{0x1f};
            area.is_filled = true;
        }
        if (xcr0_ != 0)
            asm volatile("xrstor64 %0"
                         :
                         : "m"(area.bytes), "a"(static_cast<std::uint32_t>(xcr0_)),
                           "d"(static_cast<std::uint32_t>(xcr0_ >> 32)));
        else
            asm volatile("fxrstor64 %0" : : "m"(area.bytes));
    }
    [[gnu::noinline]] void save(fpu_area& area) const {
        area.is_filled = true;
        if (xcr0_ != 0)
            asm volatile("xsave64 %0"
                         : "+m"(area.bytes)
                         : "a"(static_cast<std::uint32_t>(xcr0_)), "d"(static_cast<std::uint32_t>(xcr0_ >> 32)));
        else
            asm volatile("fxsave64 %0" : "=m"(area.bytes));
    }

  private:
    std::uint64_t xcr0_{0};
};

} // namespace hv::bare
