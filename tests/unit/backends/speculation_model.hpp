// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>

namespace hv::test {

/// What a processor remembers of speculation, and which remedies were used. MSRs that it lacks raise #GP, which nobody
/// would survive. Numbers here are written down a second time on purpose.
struct speculation_model {
    std::uint64_t control_bits{}; ///< that IA32_SPEC_CTRL has; 0: there is none
    bool has_barrier{}, has_flush{}, virtual_control{};

    std::uint64_t control{}; ///< IA32_SPEC_CTRL
    std::optional<std::uint64_t> trained_by{};
    bool level1_is_clean{};

    // Seen since the start; those of the last entry.
    unsigned control_writes{}, barriers{}, barriers_at_exit{}, flushes{}, fills{};
    std::uint64_t control_in_guest{};
    bool buffers_were_clear{}, level1_was_clean{};

    void write_msr(std::uint32_t index, std::uint64_t value) {
        if (index == 0x48 and control_bits != 0 and (value & ~control_bits) == 0) {
            ++control_writes;
            control = value;
        } else if (index == 0x49 and has_barrier and value == 1) {
            ++barriers;
            trained_by.reset();
        } else if (index == 0x10b and has_flush and value == 1) {
            ++flushes;
            level1_is_clean = true;
        } else {
            throw std::logic_error{"WRMSR: #GP"};
        }
    }
    /// The world switch, whose `work` is the word behind the guest's registers. `guest` is any name for it.
    void run(bool mitigates, std::uint64_t guest, std::uint64_t work, std::uint64_t control_of_block) {
        if (mitigates and has_barrier and trained_by and *trained_by != guest)
            throw std::logic_error{"the guest runs with what another one trained"};
        if (virtual_control and (control_of_block & ~control_bits) != 0)
            throw std::logic_error{"SPEC_CTRL of the guest has reserved bits"};
        trained_by = guest;
        control_in_guest = control | (virtual_control ? control_of_block : 0);
        buffers_were_clear = mitigates and (work & 1) != 0;
        level1_was_clean = level1_is_clean;
        level1_is_clean = false;
        if (not mitigates)
            return;
        ++fills;
        if ((work & 2) != 0) {
            if (not has_barrier)
                throw std::logic_error{"WRMSR behind the exit: #GP"};
            ++barriers_at_exit;
        }
    }
};

} // namespace hv::test
