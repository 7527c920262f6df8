// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/devices/device.hpp>
#include <hv/devices/pit_counter.hpp>

#include <array>
#include <cstdint>

namespace hv {

/// The interval timer of a PC: an 8254 at 1193182 Hz, and port 61h, which holds the gate of counter 2 and shows its
/// output. OUT 0 is interrupt line 0, OUT 1 would refresh memory, OUT 2 is the speaker.
///
/// The reference payload has no room for port 61h and for what GATE does; spare bits carry it (pit_counter.hpp, and
/// `saved_*` below), in such a way that an image of the reference, where they are 0, means what it meant.
class pit_8254 {
  public:
    static constexpr char const* name{"pit_8254"};
    static constexpr bool reads_move_deadline{false};
    static constexpr std::array ports{port_range{.first = 0x40, .count = 4}, port_range{.first = 0x61, .count = 1}};
    static constexpr std::array lines{irq_line{0}};

    using payload = hv_pit_v1;
    static constexpr std::uint16_t data_class{hv_data_pit};
    static constexpr std::uint16_t data_version{1};
    /// In `status` of channel 0: the one rise of OUT that its mode has is already delivered.
    static constexpr std::uint8_t saved_rise_done{1u << 7};
    /// In `mode` of channel 2: bit 1 of port 61h, which lets OUT 2 reach the speaker.
    static constexpr std::uint8_t saved_speaker{1u << 7};

    /// The most interrupts a second: a guest that asks for more gets every second one, or fewer. Else a count of 2
    /// would keep the host in timer interrupts.
    static constexpr pit_counter::cycle shortest_period{pit_counter::frequency / 10'000};

    void reset(auto& context) {
        *this = {};
        counters_[2].set_gate(false, pit_counter::cycle_at(context.now()));
        derive_steady_bits();
    }

    [[nodiscard, gnu::always_inline]] auto read_port(auto& context, std::uint16_t port, unsigned) -> std::uint32_t {
        if (port == system_port)
            return read_system_port(context);
        auto const number = port & 3u;
        return number == 3 ? 0xff
                           : read_counter(context, counters_[number]); // control words cannot be read: an open bus
    }

    [[gnu::always_inline]] void write_port(auto& context, std::uint16_t port, unsigned, std::uint32_t value) {
        auto const byte = static_cast<std::uint8_t>(value);
        if (port == control_port and (byte & 0x30) == 0 and byte >> 6 != 3)
            latch(context, counters_[byte >> 6]);
        else
            write_register(context, port, byte);
    }

    [[nodiscard]] auto deadline() const -> instant { return next_rise_; }
    void expire(auto& context) { deliver_due(context); }

    [[nodiscard]] auto save(auto&) const -> payload {
        payload image{};
        for (unsigned i{0}; i < 3; ++i)
            image.channel[i] = counters_[i].save();
        if (image.channel[0].time_target > 0 and next_rise_ == never)
            image.channel[0].status |= saved_rise_done;
        if (speaker_)
            image.channel[2].mode |= saved_speaker;
        return image;
    }

    auto restore(auto& context, payload const& image) -> status {
        auto const now = pit_counter::cycle_at(context.now());
        auto saved = image;
        pit_8254 other{};
        auto const rise_done = (saved.channel[0].status & saved_rise_done) != 0;
        saved.channel[0].status &= static_cast<std::uint8_t>(~saved_rise_done);
        other.speaker_ = (saved.channel[2].mode & saved_speaker) != 0;
        saved.channel[2].mode &= static_cast<std::uint8_t>(~saved_speaker);
        for (unsigned i{0}; i < 3; ++i)
            if (other.counters_[i].restore(saved.channel[i], now) != status::ok)
                return status::invalid_argument;
        if (not other.counters_[0].gate() or not other.counters_[1].gate())
            return status::invalid_argument; // they are wired high
        // Every rise after the saved period's start is still to come, at once if it lies in the past.
        if (not rise_done)
            other.next_rise_ = pit_counter::start_of(other.counters_[0].rise_after(other.counters_[0].origin()));
        other.derive_steady_bits();
        *this = other;
        return status::ok;
    }

  private:
    static constexpr std::uint16_t control_port{0x43};
    static constexpr std::uint16_t system_port{0x61};
    // Bits of port 61h.
    static constexpr std::uint32_t gate_2{0x01};
    static constexpr std::uint32_t speaker_data_enable{0x02};
    static constexpr std::uint32_t refresh_toggle{0x10};
    static constexpr std::uint32_t output_2{0x20};
    /// Half the period in which refresh shows at port 61h.
    static constexpr nanoseconds refresh_time{15'085};

    /// Delivers the rise of OUT 0 that is due, one however late this is.
    [[gnu::always_inline]] void deliver_due(auto& context) {
        if (next_rise_ != never and next_rise_ <= context.now()) [[unlikely]]
            deliver_rise(context);
    }
    [[gnu::noinline]] void deliver_rise(auto& context) {
        auto const now = pit_counter::cycle_at(context.now());
        counters_[0].advance(now);
        context.pulse(lines[0]);
        schedule(now);
    }

    void schedule(pit_counter::cycle now) {
        auto rise = counters_[0].rise_after(now);
        if (auto const n = counters_[0].period();
            rise != pit_counter::no_cycle and counters_[0].is_periodic() and n < shortest_period)
            rise += shortest_period / n * n;
        next_rise_ = pit_counter::start_of(rise);
    }

    [[gnu::noinline]] void write_register(auto& context, std::uint16_t port, std::uint8_t byte) {
        deliver_due(context);
        auto const now = pit_counter::cycle_at(context.now());
        if (port == system_port) {
            speaker_ = (byte & speaker_data_enable) != 0;
            counters_[2].set_gate((byte & gate_2) != 0, now);
            derive_steady_bits();
            return;
        }
        for (auto& counter : counters_)
            counter.advance(now);
        auto const was_high = counters_[0].output(now);
        if (port == control_port)
            write_control(byte, now);
        else if (port >= 0x40 and port <= 0x42)
            counters_[port & 3].write(byte, now);
        derive_steady_bits();
        if (not was_high and counters_[0].output(now))
            context.pulse(lines[0]);
        auto const programs_0 = port == control_port and byte >> 6 == 0 and (byte & 0x30) != 0;
        if (port == 0x40 or programs_0)
            schedule(now);
    }

    /// The clock is read only where time passes for something.
    [[nodiscard, gnu::noinline]] auto read_counter(auto& context, pit_counter& counter) -> std::uint32_t {
        if (next_rise_ == never and not counter.has_count())
            return counter.read(0);
        return read_running(context, counter);
    }
    [[nodiscard, gnu::noinline]] auto read_running(auto& context, pit_counter& counter) -> std::uint32_t {
        deliver_due(context);
        auto const now = present(counter, context);
        return counter.read(now);
    }

    [[gnu::noinline]] void latch(auto& context, pit_counter& counter) {
        if (counter.holds_count())
            return;
        latch_running(context, counter);
    }
    [[gnu::noinline]] void latch_running(auto& context, pit_counter& counter) {
        deliver_due(context);
        counter.latch_count(present(counter, context));
    }

    /// Bit 4 toggles with each refresh of memory. Parity and channel check never fail.
    [[nodiscard, gnu::always_inline]] auto read_system_port(auto& context) -> std::uint32_t {
        auto const now = context.now();
        auto const refreshes = static_cast<std::uint64_t>(now.since_creation) / refresh_time;
        auto const known = steady_bits_ | (refreshes % 2 != 0 ? refresh_toggle : 0);
        return counters_[2].has_count() ? with_output_2(now, known) : known;
    }
    [[nodiscard, gnu::noinline]] auto with_output_2(instant t, std::uint32_t known) -> std::uint32_t {
        auto const now = pit_counter::cycle_at(t);
        counters_[2].advance(now);
        return (known & ~output_2) | (counters_[2].output(now) ? output_2 : 0);
    }
    /// Follows whatever moves the gate, the speaker or the mode of counter 2.
    void derive_steady_bits() {
        auto const& counter = counters_[2];
        steady_bits_ = static_cast<std::uint8_t>((counter.gate() ? gate_2 : 0) | (speaker_ ? speaker_data_enable : 0) |
                                                 (counter.output_without_count() ? output_2 : 0));
    }

    /// Brings a counter to the present and answers its cycle. Without a count no time passes for it.
    [[nodiscard, gnu::always_inline]] static auto present(pit_counter& counter, auto& context) -> pit_counter::cycle {
        if (not counter.has_count())
            return 0;
        auto const now = pit_counter::cycle_at(context.now());
        counter.advance(now);
        return now;
    }

    void write_control(std::uint8_t byte, pit_counter::cycle now) {
        auto const selected = byte >> 6;
        if (selected == 3) { // read-back: bits 5 and 4 are active low, bits 3:1 select counters
            for (unsigned i{0}; i < 3; ++i) {
                if ((byte >> i & 2) == 0)
                    continue;
                if ((byte & 0x20) == 0)
                    counters_[i].latch_count(now);
                if ((byte & 0x10) == 0)
                    counters_[i].latch_status(now);
            }
        } else {
            counters_[static_cast<unsigned>(selected)].program(byte);
        }
    }

    std::array<pit_counter, 3> counters_{};
    instant next_rise_{never}; ///< of OUT 0, not yet delivered
    bool speaker_{};
    std::uint8_t steady_bits_{}; ///< of port 61h: no time moves them but what OUT 2 does with a count; derived
};
static_assert(device<pit_8254> and port_device<pit_8254> and timed_device<pit_8254> and line_device<pit_8254> and
              saveable<pit_8254>);

} // namespace hv
