// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/event.hpp>
#include <hv/exit.hpp>
#include <hv/x86/exception.hpp>

#include <cstdint>

namespace hv {

enum class outcome_kind : std::uint8_t {
    done,        ///< RIP is behind the instruction, RF is clear
    again,       ///< not finished: enter at the same RIP, where the rest (of a REP string, say) will be done
    fault,       ///< the guest gets an exception; its state is that before the instruction, or before the REP element
    pending,     ///< a restartable_cpu waits for an answer; nothing changed
    unsupported, ///< the emulator does not know how; nothing changed
};

/// What became of an emulated instruction.
struct [[nodiscard]] outcome {
    outcome_kind kind{outcome_kind::unsupported};
    bool single_step{}; ///< RFLAGS.TF was set and the instruction (or REP element) is complete: a #DB trap is due
    std::uint8_t breakpoints{}; ///< data breakpoints that it met, as bits of DR6: the same trap
    std::uint8_t length{};
    event exception{};             ///< of fault
    std::uint64_t qualification{}; ///< CR2 for #PF, bits to set in DR6 for #DB
    instruction_bytes instruction{};
};

/// Why an access or an instruction cannot be done. Tests as false where nothing is in the way.
struct [[nodiscard]] obstacle {
    outcome_kind kind{outcome_kind::done};
    event exception{};
    std::uint64_t qualification{};

    constexpr explicit operator bool() const { return kind != outcome_kind::done; }

    [[nodiscard]] static constexpr auto fault(x86::exception vector) -> obstacle {
        return {outcome_kind::fault, event::make(vector)};
    }
    [[nodiscard]] static constexpr auto fault(x86::exception vector, std::uint32_t error_code) -> obstacle {
        return {outcome_kind::fault, event::make(vector, error_code)};
    }
    [[nodiscard]] static constexpr auto general_protection() -> obstacle {
        return fault(x86::exception::general_protection, 0);
    }
    [[nodiscard]] static constexpr auto undefined() -> obstacle { return fault(x86::exception::invalid_opcode); }
};

} // namespace hv
