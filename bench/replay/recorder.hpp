// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bench/replay/record.hpp>

#include <hv/cpuid.hpp>
#include <hv/emulate/fetch.hpp>
#include <hv/emulated_cpu.hpp>
#include <hv/exit.hpp>
#include <hv/exit_list.hpp>
#include <hv/stats.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace hv::replay {

[[nodiscard]] constexpr auto counts_of(vcpu_stats const& stats) -> counts {
    auto const low = [](std::uint64_t n) { return static_cast<std::uint32_t>(n); };
    return {low(stats.events_injected), low(stats.emulated_instructions), low(stats.unclaimed_ports),
            low(stats.unclaimed_mmio), low(stats.refused_msrs)};
}

/// A handler of all exits that serves none: it writes each to the host's stream 2.
class recorder {
  public:
    template <typename Exit, typename Vcpu>
    auto on(Exit const& exit, Vcpu& cpu) -> verdict {
        static_assert(std::is_trivially_copyable_v<Exit> and sizeof(Exit) <= sizeof(record::exit));
        if (not begun_) {
            begun_ = true;
            begin(cpu);
        }
        record r{.rip = cpu.rip(), .rflags = cpu.hardware().rflags(), .before = counts_of(cpu.stats())};
        for (unsigned i{0}; i != x86::gpr_count; ++i)
            r.gprs[i] = cpu.gpr(static_cast<x86::gpr>(i));
        auto const bytes = std::bit_cast<std::array<std::byte, sizeof(Exit)>>(exit);
        for (std::size_t i{0}; i != bytes.size(); ++i)
            r.exit[i] = bytes[i];
        r.kind = static_cast<std::uint8_t>(exits::number_of<Exit>);
        r.interrupt_shadow = cpu.hardware().interrupt_shadow();
        take_code(r, cpu);
        r.tsc = cpu.machine().guest_tsc();
        put(cpu, r);
        return verdict::not_mine;
    }

  private:
    template <typename Vcpu, typename T>
    static void put(Vcpu& cpu, T const& value) {
        for (auto const byte : std::bit_cast<std::array<std::uint8_t, sizeof(T)>>(value))
            cpu.host().put(2, byte);
    }

    template <typename Vcpu>
    static void begin(Vcpu& cpu) {
        auto const& rules = default_cpuid_profile::rules;
        auto const leaf = [&cpu](std::uint32_t function, std::uint32_t index) {
            put(cpu, cpuid_leaf{function, index, cpu.host().cpuid(function, index)});
        };
        put(cpu, header{.tsc_frequency = cpu.machine().tsc_frequency(),
                        .leaf_count = static_cast<std::uint32_t>(rules.size() + 2)});
        leaf(0, 0);
        leaf(0x80000000, 0);
        for (auto const& rule : rules)
            leaf(rule.function, rule.index);
    }

    template <typename Vcpu>
    static void take_code(record& r, Vcpu& cpu) {
        emulated_cpu<Vcpu> emulated{cpu};
        auto const f = hv::detail::fetch(emulated, hv::detail::code_size_of(emulated));
        if (f.stop)
            return;
        r.length = f.instruction.length;
        r.code_count = f.bytes.count;
        for (std::size_t i{0}; i != f.bytes.bytes.size(); ++i)
            r.code[i] = f.bytes.bytes[i];
    }

    bool begun_{};
};

} // namespace hv::replay
