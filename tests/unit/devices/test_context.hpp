// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/devices/device.hpp>

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace hv::test {

/// What a device did to an interrupt line.
struct line_event {
    enum class kind : std::uint8_t { raise, lower, pulse };
    kind what;
    std::uint8_t line;

    auto operator==(line_event const&) const -> bool = default;
};

/// A byte that a device put into a stream.
struct stream_byte {
    std::uint8_t stream;
    std::uint8_t byte;

    auto operator==(stream_byte const&) const -> bool = default;
};

/// A context with every service of `device_context_archetype`. The test sets the inputs; every call of the device is
/// recorded in order.
struct device_context {
    // Inputs.
    instant time{};
    std::int64_t wall_time_at_zero{1'700'000'000 * nanoseconds_per_second}; ///< wall clock at instant 0
    std::uint64_t tsc_frequency{2'000'000'000};
    std::uint64_t tsc_at_zero{}; ///< guest TSC at instant 0
    std::uint32_t id{};

    // What the device did.
    std::vector<line_event> lines{};
    std::vector<bool> interrupt_requests{}; ///< every level handed to set_interrupt_request
    bool interrupt_request{};               ///< the last of them
    std::vector<interrupt_message> delivered{};
    std::vector<interrupt_message> sent{};
    std::vector<std::uint8_t> ended{}; ///< vectors handed to end_of_interrupt
    std::vector<stream_byte> output{};
    unsigned power_offs{};
    unsigned resets{};
    std::vector<std::uint32_t> exits{};

    // The services.
    [[nodiscard]] auto now() const -> instant { return time; }
    [[nodiscard]] auto wall_clock() const -> std::int64_t { return wall_time_at_zero + time.since_creation; }

    void raise(irq_line l) { lines.push_back({line_event::kind::raise, l.number}); }
    void lower(irq_line l) { lines.push_back({line_event::kind::lower, l.number}); }
    void pulse(irq_line l) { lines.push_back({line_event::kind::pulse, l.number}); }

    void set_interrupt_request(bool level) {
        interrupt_requests.push_back(level);
        interrupt_request = level;
    }
    void deliver(interrupt_message const& m) { delivered.push_back(m); }

    void put(stream_id s, std::uint8_t byte) { output.push_back({s.number, byte}); }
    void power_off() { ++power_offs; }
    void reset_machine() { ++resets; }
    void exit_machine(std::uint32_t code) { exits.push_back(code); }

    [[nodiscard]] auto processor_id() const -> std::uint32_t { return id; }
    [[nodiscard]] auto guest_tsc() const -> std::uint64_t {
        return tsc_at_zero + ticks_in(time.since_creation, tsc_frequency);
    }
    [[nodiscard]] auto instant_of_tsc(std::uint64_t tsc) const -> instant {
        if (tsc <= guest_tsc())
            return time;
        auto const ahead = tsc - guest_tsc();
        if (ahead / tsc_frequency > 200ull * 365 * 24 * 3600)
            return never;
        return instant{} + time_for(tsc - tsc_at_zero, tsc_frequency);
    }
    void send(interrupt_message const& m) { sent.push_back(m); }
    void end_of_interrupt(std::uint8_t vector) { ended.push_back(vector); }

    // For tests.
    void advance(nanoseconds d) { time = time + d; }
    /// Forgets what was recorded; inputs stay.
    void forget() {
        lines.clear();
        interrupt_requests.clear();
        delivered.clear();
        sent.clear();
        ended.clear();
        output.clear();
        power_offs = resets = 0;
        exits.clear();
    }
    /// How often the line was raised or pulsed.
    [[nodiscard]] auto edges(std::uint8_t line) const -> unsigned {
        unsigned n{};
        for (auto const& e : lines)
            n += e.line == line and e.what != line_event::kind::lower;
        return n;
    }
    /// The level of the line as the device left it, low before the first call.
    [[nodiscard]] auto asserted(std::uint8_t line) const -> bool {
        bool level{};
        for (auto const& e : lines)
            if (e.line == line)
                level = e.what == line_event::kind::raise;
        return level;
    }
    /// The bytes of a stream in order, as characters.
    [[nodiscard]] auto text(std::uint8_t stream = 0) const -> std::string {
        std::string bytes;
        for (auto const& b : output)
            if (b.stream == stream)
                bytes.push_back(static_cast<char>(b.byte));
        return bytes;
    }
};

inline auto operator<<(std::ostream& out, line_event const& e) -> std::ostream& {
    constexpr char const* names[]{"raise ", "lower ", "pulse "};
    return out << names[static_cast<unsigned>(e.what)] << unsigned{e.line};
}

} // namespace hv::test

namespace hv {

inline auto operator<<(std::ostream& out, interrupt_message const& m) -> std::ostream& {
    return out << "{to " << m.destination << (m.logical ? " logical" : " physical") << " vector " << unsigned{m.vector}
               << " mode " << unsigned(m.mode) << (m.level ? " level" : " edge") << (m.deassert ? " deassert" : "")
               << " shorthand " << unsigned(m.shorthand) << '}';
}

inline auto operator<<(std::ostream& out, instant const& t) -> std::ostream& {
    if (t == never)
        return out << "never";
    return out << t.since_creation << " ns";
}

} // namespace hv
