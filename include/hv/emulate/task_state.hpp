// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/system_bytes.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <cstdint>

namespace hv::detail {

/// The registers that a task state segment holds of its task. EAX to EDI and ES to GS in the order of their encoding.
struct task_state {
    std::uint32_t eip{};
    std::uint32_t eflags{};
    std::array<std::uint32_t, 8> gpr{};
    std::array<std::uint16_t, 6> segments{};
};

/// Where a task state segment holds what. SDM Vol. 3A, "Task-State Segment (TSS)" and "16-Bit Task-State Segment
/// (TSS)".
struct task_layout {
    std::uint8_t register_size;    ///< of EIP, EFLAGS, the general registers
    std::uint8_t segment_distance; ///< from one selector to the next
    std::uint8_t segment_count;
    std::uint8_t size;      ///< a smaller segment is none
    std::uint8_t save_size; ///< what a switch away from the task writes ends here
    std::uint8_t cr3;       ///< 0: not there
    std::uint8_t eip;       ///< then EFLAGS, EAX…
    std::uint8_t segments;  ///< ES, CS…
    std::uint8_t ldt;
    std::uint8_t debug_trap; ///< 0: not there

    [[nodiscard, gnu::cold]] auto read(system_bytes const& from) const -> task_state {
        task_state s{};
        s.eip = number(from, 0);
        s.eflags = number(from, 1);
        for (unsigned i{0}; i < s.gpr.size(); ++i)
            s.gpr[i] = number(from, 2 + i);
        for (unsigned i{0}; i < segment_count; ++i)
            s.segments[i] = static_cast<std::uint16_t>(from.read(segments + i * segment_distance, 2));
        return s;
    }
    [[gnu::cold]] void write(system_bytes const& to, task_state const& s) const {
        set_number(to, 0, s.eip);
        set_number(to, 1, s.eflags);
        for (unsigned i{0}; i < s.gpr.size(); ++i)
            set_number(to, 2 + i, s.gpr[i]);
        for (unsigned i{0}; i < segment_count; ++i)
            to.write(segments + i * segment_distance, 2, s.segments[i]);
    }

  private:
    [[nodiscard]] auto number(system_bytes const& from, unsigned i) const -> std::uint32_t {
        return static_cast<std::uint32_t>(from.read(eip + i * register_size, register_size));
    }
    void set_number(system_bytes const& to, unsigned i, std::uint32_t value) const {
        to.write(eip + i * register_size, register_size, value);
    }
};

inline constexpr unsigned task_link{0}; ///< the selector of the task that an IRET goes back to, in both formats
inline constexpr task_layout task_32{.register_size = 4,
                                     .segment_distance = 4,
                                     .segment_count = 6,
                                     .size = 104,
                                     .save_size = 0x5e,
                                     .cr3 = 0x1c,
                                     .eip = 0x20,
                                     .segments = 0x48,
                                     .ldt = 0x60,
                                     .debug_trap = 0x64};
inline constexpr task_layout task_16{.register_size = 2,
                                     .segment_distance = 2,
                                     .segment_count = 4,
                                     .size = 44,
                                     .save_size = 0x2a,
                                     .cr3 = 0,
                                     .eip = 0x0e,
                                     .segments = 0x22,
                                     .ldt = 0x2a,
                                     .debug_trap = 0};

} // namespace hv::detail
