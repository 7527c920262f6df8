// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/x86/memory_type.hpp>
#include <hv/x86/msr.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv {

/// What a WRMSR to a modelled register must satisfy, beyond its reserved bits.
enum class msr_check : std::uint8_t { none, mtrr_fixed, mtrr_base, mtrr_default_type, canonical };

/// Consecutive MSRs that the library models without hardware. Those that no rule, no device and no backend names do not
/// exist: RDMSR and WRMSR raise #GP.
struct msr_rule {
    enum class writes : std::uint8_t {
        fault,   ///< WRMSR raises #GP
        equal,   ///< only the present value may be written
        ignored, ///< accepted and forgotten
        stored,  ///< kept; a bit outside `writable` raises #GP
    };
    std::uint32_t first{};
    std::uint32_t count{1};
    std::uint64_t reset{};
    writes on_write{writes::fault};
    std::uint64_t writable{};
    msr_check check{msr_check::none};
};

/// The rules a machine has if it names no others: what Debian's kernel touches without asking CPUID first, and the
/// MTRRs.
struct default_msr_policy {
    static constexpr auto rules = [] {
        using namespace x86::msr;
        using enum msr_rule::writes;
        constexpr std::uint64_t physical_address{0x000000fffffff000};
        return std::array{
            // clang-format off
            msr_rule{.first = ia32_bios_sign_id, .on_write = ignored},
            msr_rule{.first = ia32_mtrrcap, .reset = 0x508, .on_write = equal}, // WC, fixed ranges, 8 variable ranges
            msr_rule{.first = ia32_mcg_cap},
            msr_rule{.first = ia32_mcg_status, .on_write = ignored},
            // Fast strings are on; software may write what the manual defines, to no effect here.
            msr_rule{.first = ia32_misc_enable, .reset = 1, .on_write = stored, .writable = 0x400c51889},
            msr_rule{.first = ia32_mtrr_physbase0, .count = 16, .on_write = stored, .writable = physical_address | 0x8ff, .check = msr_check::mtrr_base},
            msr_rule{.first = ia32_mtrr_fix64k_00000, .reset = 0x0606060606060606, .on_write = stored, .writable = ~0ull, .check = msr_check::mtrr_fixed},
            msr_rule{.first = ia32_mtrr_fix16k_80000, .count = 2, .reset = 0x0606060606060606, .on_write = stored, .writable = ~0ull, .check = msr_check::mtrr_fixed},
            msr_rule{.first = ia32_mtrr_fix4k_c0000, .count = 8, .reset = 0x0606060606060606, .on_write = stored, .writable = ~0ull, .check = msr_check::mtrr_fixed},
            msr_rule{.first = ia32_mtrr_def_type, .reset = 0xc06, .on_write = stored, .writable = 0xcff, .check = msr_check::mtrr_default_type},
            msr_rule{.first = amd_syscfg, .on_write = ignored},
            msr_rule{.first = amd_hwcr, .reset = 1u << 24, .on_write = ignored}, // TSC counts at the P0 frequency
            msr_rule{.first = amd_de_cfg, .reset = 2, .on_write = ignored},      // LFENCE is dispatch serialising
            // clang-format on
        };
    }();
};

/// The modelled MSRs of one virtual processor under a policy.
template <typename Policy>
class msr_store {
  public:
    constexpr msr_store() { reset(); }

    constexpr void reset() {
        std::size_t slot{0};
        for (auto const& rule : Policy::rules)
            for (std::uint32_t i{0}; i != rule.count; ++i)
                values_[slot++] = rule.reset;
    }

    /// False: there is no such register.
    [[nodiscard]] constexpr auto read(std::uint32_t index, std::uint64_t& value) const -> bool {
        auto const at = find(index);
        if (at.rule == nullptr)
            return false;
        value = values_[at.slot];
        return true;
    }

    /// False: the processor raises #GP.
    [[nodiscard]] constexpr auto write(std::uint32_t index, std::uint64_t value) -> bool {
        auto const at = find(index);
        if (at.rule == nullptr)
            return false;
        switch (at.rule->on_write) {
        case msr_rule::writes::fault:
            return false;
        case msr_rule::writes::equal:
            return value == values_[at.slot];
        case msr_rule::writes::ignored:
            return true;
        case msr_rule::writes::stored:
            if ((value & ~at.rule->writable) != 0 or not valid(at.rule->check, index, value))
                return false;
            values_[at.slot] = value;
            return true;
        }
        return false;
    }

  private:
    struct location {
        msr_rule const* rule{};
        std::size_t slot{};
    };

    [[nodiscard]] constexpr auto find(std::uint32_t index) const -> location {
        std::size_t slot{0};
        for (auto const& rule : Policy::rules) {
            if (index - rule.first < rule.count)
                return {&rule, slot + (index - rule.first)};
            slot += rule.count;
        }
        return {};
    }

    [[nodiscard]] static constexpr auto valid(msr_check check, std::uint32_t index, std::uint64_t value) -> bool {
        switch (check) {
        case msr_check::none:
            return true;
        case msr_check::mtrr_fixed:
            for (unsigned shift{0}; shift != 64; shift += 8)
                if (not x86::is_mtrr_type(static_cast<std::uint8_t>(value >> shift)))
                    return false;
            return true;
        case msr_check::mtrr_base: // base and mask registers alternate. SDM Vol. 3A, "Variable Range MTRRs".
            return (index & 1) == 0 ? (value & 0xf00) == 0 and x86::is_mtrr_type(static_cast<std::uint8_t>(value))
                                    : (value & 0x7ff) == 0;
        case msr_check::mtrr_default_type:
            return x86::is_mtrr_type(static_cast<std::uint8_t>(value));
        case msr_check::canonical:
            return static_cast<std::uint64_t>(static_cast<std::int64_t>(value << 16) >> 16) == value;
        }
        return false;
    }

    static constexpr std::size_t slots = [] {
        std::size_t n{0};
        for (auto const& rule : Policy::rules)
            n += rule.count;
        return n;
    }();

    std::array<std::uint64_t, slots> values_{};
};

} // namespace hv
