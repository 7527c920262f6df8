// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/abi/vmm_data.hpp>
#include <hv/devices/device.hpp>
#include <hv/devices/rtc_registers.hpp>

#include <array>
#include <cstdint>

namespace hv {

/// The real-time clock and CMOS memory of a PC. At power-on it shows the host's wall clock (UTC); from then on the
/// machine's own clock drives it, so that it survives a reset and a move to another host. Motorola MC146818A datasheet.
///
/// An update takes no time: update-in-progress shows the 244 us before it, and the time registers change at its end.
/// A time that the registers cannot mean (February 30) stops the updates until the guest writes a better one.
class rtc_mc146818 {
  public:
    static constexpr char const* name{"rtc_mc146818"};
    static constexpr std::array ports{port_range{.first = 0x70, .count = 2}};
    static constexpr std::array lines{irq_line{8}};

    using payload = hv_rtc_v2;
    static constexpr std::uint16_t data_class{hv_data_rtc};
    static constexpr std::uint16_t data_version{2};

    /// The first call powers the clock on; later ones are the RESET pin, which leaves time and memory alone.
    [[gnu::cold]] void reset(auto& context) {
        using namespace rtc_registers;
        if ((registers_[d] & valid_ram_and_time) == 0) {
            registers_[a] = divider_32768_hz | 6; // 1024 Hz
            registers_[b] = hours_24;
            registers_[d] = valid_ram_and_time;
            last_period_ = context.now();
            auto const wall = context.wall_clock();
            static_cast<void>(set_time(context, wall < 0 ? 0 : wall));
        }
        registers_[b] &= static_cast<std::uint8_t>(~(all_flags | square_wave));
        registers_[c] = 0;
    }

    [[nodiscard]] auto read_port(auto& context, std::uint16_t port, unsigned) -> std::uint32_t {
        using namespace rtc_registers;
        if (port != data_port)
            return 0xff; // the index cannot be read: an open bus
        catch_up(context);
        auto const value = registers_[index_];
        if (index_ == a)
            return static_cast<std::uint32_t>(value | (is_about_to_update(context.now()) ? update_in_progress : 0));
        if (index_ == c)
            registers_[c] = 0;
        return value;
    }

    [[gnu::cold]] void write_port(auto& context, std::uint16_t port, unsigned, std::uint32_t value) {
        using namespace rtc_registers;
        auto const byte = static_cast<std::uint8_t>(value);
        if (port != data_port) {
            index_ = byte & 0x7f; // bit 7 of the port masks NMI; this machine has no NMI source to mask
            return;
        }
        catch_up(context);
        switch (index_) {
        case a:
            write_a(byte & static_cast<std::uint8_t>(~update_in_progress), context.now());
            break;
        case b: // setting SET also takes back the update-ended interrupt
            registers_[b] = (byte & set) != 0 ? byte & static_cast<std::uint8_t>(~update_ended) : byte;
            break;
        case c:
        case d:
            return;
        case seconds:
            registers_[seconds] = byte & 0x7f;
            break;
        default:
            registers_[index_] = byte;
            break;
        }
        request_interrupt(context);
    }

    [[nodiscard, gnu::cold]] auto deadline() const -> instant {
        using namespace rtc_registers;
        auto first = never;
        if (not divider_runs() or (registers_[c] & interrupt_request) != 0)
            return first; // nothing more to tell until register C is read
        auto const enabled = registers_[b];
        if (auto const f = periodic_frequency(registers_[a]); f != 0 and (enabled & periodic) != 0)
            first = start_of_period(period_at(last_period_, f) + 1, f);
        if ((enabled & (update_ended | alarm)) == 0 or (enabled & set) != 0)
            return first;
        auto const time = time_of(registers_);
        if (not time)
            return first;
        unsigned ahead{0};
        if ((enabled & alarm) != 0)
            ahead = seconds_to_alarm(registers_, second_of_day(time.value));
        if ((enabled & update_ended) != 0)
            ahead = 1;
        if (auto const t = base_ + ahead * nanoseconds_per_second; ahead != 0 and t < first)
            first = t;
        return first;
    }
    void expire(auto& context) { catch_up(context); }

    /// Sets the clock, in nanoseconds since 1970-01-01T00:00. invalid_argument if before that.
    auto set_time(auto& context, std::int64_t since_1970) -> status {
        if (since_1970 < 0)
            return status::invalid_argument;
        catch_up(context);
        auto const time = since_1970 / nanoseconds_per_second;
        registers_[rtc_registers::day_of_week] = 1;
        rtc_registers::show(registers_, time, (time / seconds_per_day + 4) % 7); // 1970-01-01 was a Thursday, day 5
        base_ = context.now() - since_1970 % nanoseconds_per_second;
        last_period_ = context.now();
        return status::ok;
    }
    /// What the clock shows, in nanoseconds since 1970-01-01T00:00; out_of_range if that is no time.
    [[nodiscard]] auto time(auto& context) -> result<std::int64_t> {
        catch_up(context);
        auto const shown = rtc_registers::time_of(registers_);
        if (not shown)
            return status::out_of_range;
        constexpr auto latest = INT64_MAX / nanoseconds_per_second - 1;
        if (shown.value > latest or shown.value < -latest)
            return status::out_of_range;
        return shown.value * nanoseconds_per_second + (divider_runs() ? context.now() - base_ : 0);
    }

    /// Writes a byte of the memory behind the clock; invalid_argument for the clock's own registers.
    auto write_memory(unsigned offset, std::uint8_t value) -> status {
        if (offset <= rtc_registers::d or offset == rtc_registers::century or offset >= registers_.size())
            return status::invalid_argument;
        registers_[offset] = value;
        return status::ok;
    }
    /// Reads a byte of the memory behind the clock, without effect on the clock.
    [[nodiscard]] auto read_memory(auto& context, unsigned offset) -> result<std::uint8_t> {
        if (offset >= registers_.size())
            return status::invalid_argument;
        catch_up(context);
        return registers_[offset];
    }

    [[nodiscard]] auto save(auto&) const -> payload {
        payload image{};
        image.base_clock = base_.since_creation;
        image.last_period = last_period_.since_creation;
        for (unsigned i{0}; i < registers_.size(); ++i)
            image.content[i] = registers_[i];
        image.addr = index_;
        return image;
    }

    [[gnu::cold]] auto restore(auto& context, payload const& image) -> status {
        using namespace rtc_registers;
        auto const now = context.now();
        rtc_mc146818 other{};
        other.base_ = instant{image.base_clock};
        other.last_period_ = instant{image.last_period};
        if (other.base_ > now or other.base_ < instant{INT64_MIN / 4} or other.last_period_ > now or
            other.last_period_ < instant{} or image.addr >= other.registers_.size())
            return status::invalid_argument;
        for (unsigned i{0}; i < other.registers_.size(); ++i)
            other.registers_[i] = image.content[i];
        other.registers_[a] &= static_cast<std::uint8_t>(~update_in_progress);
        other.registers_[c] &= interrupt_request | all_flags;
        if ((other.registers_[b] & other.registers_[c] & all_flags) == 0)
            other.registers_[c] &= all_flags;
        other.registers_[d] = valid_ram_and_time;
        other.index_ = image.addr;
        *this = other;
        return status::ok;
    }

  private:
    static constexpr std::uint16_t data_port{0x71};
    static constexpr nanoseconds shown_before_update{244'000};

    [[nodiscard]] auto divider_runs() const -> bool {
        return (registers_[rtc_registers::a] & rtc_registers::divider) == rtc_registers::divider_32768_hz;
    }
    [[nodiscard]] static auto second_of_day(std::int64_t time) -> unsigned {
        return static_cast<unsigned>((time % seconds_per_day + seconds_per_day) % seconds_per_day);
    }
    [[nodiscard]] auto is_about_to_update(instant now) const -> bool {
        using namespace rtc_registers;
        return divider_runs() and (registers_[b] & set) == 0 and
               now - base_ >= nanoseconds_per_second - shown_before_update and time_of(registers_);
    }

    // The periods of every rate fill a second, so they are counted from the clock's last second boundary before zero.
    [[nodiscard]] auto phase() const -> nanoseconds {
        auto const p = base_.since_creation % nanoseconds_per_second;
        return p < 0 ? p : p - nanoseconds_per_second;
    }
    [[nodiscard]] auto period_at(instant t, std::uint64_t frequency) const -> std::uint64_t {
        return ticks_in(t.since_creation - phase(), frequency);
    }
    [[nodiscard]] auto start_of_period(std::uint64_t n, std::uint64_t frequency) const -> instant {
        return instant{time_for(n, frequency) + phase()};
    }

    /// Brings registers and flags to the present. Flags are set once, however late this is.
    [[gnu::cold]] void catch_up(auto& context) {
        using namespace rtc_registers;
        if (not divider_runs())
            return;
        auto const now = context.now();
        if (now > last_period_) {
            if (auto const f = periodic_frequency(registers_[a]);
                f != 0 and period_at(now, f) != period_at(last_period_, f))
                registers_[c] |= periodic;
            last_period_ = now;
        }
        if (auto const passed = (now - base_) / nanoseconds_per_second; passed > 0) {
            base_ = base_ + passed * nanoseconds_per_second;
            if ((registers_[b] & set) == 0)
                update(passed);
        }
        request_interrupt(context);
    }

    void update(std::int64_t passed) {
        using namespace rtc_registers;
        auto const old = time_of(registers_);
        if (not old)
            return;
        auto const second = second_of_day(old.value);
        auto const to_alarm = seconds_to_alarm(registers_, second);
        registers_[c] |= update_ended;
        if (to_alarm != 0 and to_alarm <= passed)
            registers_[c] |= alarm;
        show(registers_, old.value + passed, (second + passed) / seconds_per_day);
    }

    /// The request is what flags and enables say at any time; only its rise is an interrupt.
    void request_interrupt(auto& context) {
        using namespace rtc_registers;
        auto const requested = (registers_[c] & interrupt_request) != 0;
        if ((registers_[b] & registers_[c] & all_flags) == 0) {
            registers_[c] &= all_flags;
        } else if (not requested) {
            registers_[c] |= interrupt_request;
            context.pulse(lines[0]);
        }
    }

    void write_a(std::uint8_t value, instant now) {
        auto const ran = divider_runs();
        registers_[rtc_registers::a] = value;
        last_period_ = now;
        if (not ran and divider_runs())
            base_ = now - nanoseconds_per_second / 2; // the first update comes half a second after the divider starts
    }

    rtc_registers::bytes registers_{};
    std::uint8_t index_{};
    instant base_{};        ///< the second boundary at which the registers showed what they show
    instant last_period_{}; ///< up to when periods have been looked at
};
static_assert(device<rtc_mc146818> and port_device<rtc_mc146818> and timed_device<rtc_mc146818> and
              line_device<rtc_mc146818> and saveable<rtc_mc146818>);

} // namespace hv
