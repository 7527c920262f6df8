// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/x86/registers.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

/// A recorded run: a header, its CPUID leaves, then one record for each exit. The file is memory of the image that
/// wrote it; who reads it is built from the same sources.
namespace hv::replay {

/// What the machine counted before an exit: a replay that took the same way counts the same.
struct counts {
    std::uint32_t events_injected{};
    std::uint32_t emulated_instructions{};
    std::uint32_t unclaimed_ports{};
    std::uint32_t unclaimed_mmio{};
    std::uint32_t refused_msrs{};

    auto operator==(counts const&) const -> bool = default;
};

struct record {
    std::uint64_t tsc{}; ///< of the guest, where the machine's clock is at 0 with it
    std::uint64_t rip{};
    std::uint64_t rflags{};
    std::array<std::uint64_t, x86::gpr_count> gprs{};
    std::array<std::byte, 40> exit{}; ///< the struct of hv::exits
    counts before{};
    std::uint8_t kind{};   ///< index into hv::exits::names
    std::uint8_t length{}; ///< of the instruction; 0: unknown
    bool interrupt_shadow{};
    std::uint8_t code_count{};
    std::array<std::uint8_t, 16> code{}; ///< the bytes at RIP
};

struct cpuid_leaf {
    std::uint32_t function{}, index{};
    x86::cpuid_result values{};
};

struct header {
    static constexpr std::uint64_t expected_magic{0x3173'7469'7865'7668}; // "hvexits1"

    std::uint64_t magic{expected_magic};
    std::uint64_t tsc_frequency{};
    std::uint32_t record_size{sizeof(record)};
    std::uint32_t leaf_count{};
};

static_assert(sizeof(header) == 24 and sizeof(cpuid_leaf) == 24); // replay.py knows them

} // namespace hv::replay
