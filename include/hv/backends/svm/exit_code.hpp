// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv::backends::svm {

// clang-format off

/// APM Vol. 2, Appendix C, "SVM Intercept Exit Codes".
enum class exit_code : std::uint64_t {
    read_cr0 = 0x000, read_cr15 = 0x00f,
    write_cr0 = 0x010, write_cr15 = 0x01f,
    read_dr0 = 0x020, read_dr15 = 0x02f,
    write_dr0 = 0x030, write_dr15 = 0x03f,
    exception0 = 0x040, exception1 = 0x041, exception18 = 0x052, exception31 = 0x05f,
    intr = 0x060, nmi = 0x061, smi = 0x062, init = 0x063, vintr = 0x064, cr0_sel_write = 0x065,
    idtr_read = 0x066, gdtr_read = 0x067, ldtr_read = 0x068, tr_read = 0x069,
    idtr_write = 0x06a, gdtr_write = 0x06b, ldtr_write = 0x06c, tr_write = 0x06d,
    rdtsc = 0x06e, rdpmc = 0x06f,
    cpuid = 0x072, rsm = 0x073, iret = 0x074, invd = 0x076, pause = 0x077, hlt = 0x078,
    invlpga = 0x07a, ioio = 0x07b, msr = 0x07c, task_switch = 0x07d, ferr_freeze = 0x07e, shutdown = 0x07f,
    vmrun = 0x080, vmmcall = 0x081, vmload = 0x082, vmsave = 0x083, stgi = 0x084, clgi = 0x085, skinit = 0x086,
    rdtscp = 0x087, wbinvd = 0x089, monitor = 0x08a, mwait = 0x08b, mwait_armed = 0x08c, xsetbv = 0x08d,
    rdpru = 0x08e,
    invpcid = 0x0a2,
    npf = 0x400,
    invalid = 0xffff'ffff'ffff'ffff,
};
// clang-format on

/// The processor refused the VMCB. QEMU stores the code as 32 bits.
[[nodiscard]] constexpr auto is_invalid(std::uint64_t code) -> bool {
    return static_cast<std::uint32_t>(code) == ~0u;
}

/// The exit is one instruction's, and nothing of it was executed.
[[nodiscard]] constexpr auto is_instruction(std::uint64_t code) -> bool {
    constexpr auto first = static_cast<std::uint64_t>(exit_code::exception0); // one bit for each of 64 codes
    constexpr auto bit_of = [](exit_code e) { return std::uint64_t{1} << (static_cast<std::uint64_t>(e) - first); };
    constexpr std::uint64_t others{bit_of(exit_code::task_switch) | bit_of(exit_code::ferr_freeze) |
                                   bit_of(exit_code::shutdown)};
    constexpr std::uint64_t instructions{~(bit_of(exit_code::cr0_sel_write) - 1) & ~others};
    if (code - first < 64) [[likely]]
        return (instructions >> (code - first) & 1) != 0;
    return code <= static_cast<std::uint64_t>(exit_code::rdpru);
}

} // namespace hv::backends::svm
