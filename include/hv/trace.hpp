// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv {

/// One exit as the trace keeps it. Times are readings of the host's TSC: the exit lasted from `exit` to `entry`.
struct trace_record {
    std::uint64_t exit_tsc{};
    std::uint64_t entry_tsc{};
    std::uint64_t rip{};
    std::uint64_t detail{}; ///< port, guest-physical address, or MSR index
    std::uint16_t kind{};   ///< index into exits::names
};

/// The tracing policy of a machine that does not trace. No call leaves code.
struct no_trace {
    static constexpr bool enabled{false};
};

/// Keeps the last `Capacity` exits of each vCPU. `Capacity` is a power of two.
template <std::size_t Capacity>
struct trace_ring {
    static_assert(Capacity != 0 and (Capacity & (Capacity - 1)) == 0, "trace_ring: the capacity is a power of two");
    static constexpr bool enabled{true};

    constexpr void begin(std::uint16_t kind, std::uint64_t rip, std::uint64_t detail, std::uint64_t tsc) {
        records_[written_ % Capacity] = {.exit_tsc = tsc, .entry_tsc = 0, .rip = rip, .detail = detail, .kind = kind};
        open_ = true;
    }
    constexpr void end(std::uint64_t tsc) {
        if (not open_)
            return;
        records_[written_++ % Capacity].entry_tsc = tsc;
        open_ = false;
    }

    constexpr void clear() {
        written_ = 0;
        open_ = false;
    }

    /// Complete records kept, oldest first by `at`.
    [[nodiscard]] constexpr auto size() const -> std::size_t {
        return written_ < Capacity ? static_cast<std::size_t>(written_) : Capacity - (open_ ? 1 : 0);
    }
    [[nodiscard]] constexpr auto dropped() const -> std::uint64_t { return written_ - size(); }
    [[nodiscard]] constexpr auto at(std::size_t index) const -> trace_record const& {
        return records_[(written_ - size() + index) % Capacity];
    }

  private:
    std::array<trace_record, Capacity> records_{};
    std::uint64_t written_{};
    bool open_{};
};

/// What a record keeps of an exit besides its kind: port, address or index.
template <typename Exit>
[[nodiscard]] constexpr auto detail_of(Exit const& exit) -> std::uint64_t {
    if constexpr (requires { exit.port; })
        return exit.port;
    else if constexpr (requires { exit.address.value; })
        return exit.address.value;
    else if constexpr (requires { exit.index; })
        return exit.index;
    else
        return 0;
}

} // namespace hv
