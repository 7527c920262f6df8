// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/abi/vmm_data.hpp>
#include <hv/devices/device.hpp>
#include <hv/devices/hpet_registers.hpp>
#include <hv/devices/msi.hpp>

#include <array>
#include <cstdint>

namespace hv {

/// High Precision Event Timers: a 32-bit counter at 2^24 Hz and eight timers, each periodic or one-shot, with an edge
/// or a level on one of the lines 24-31 or a message. There is no legacy replacement route. Accesses are 4 or 8 bytes
/// wide and naturally aligned; others read 0 and write nothing. IA-PC HPET Specification 1.0a.
class hpet {
  public:
    static constexpr char const* name{"hpet"};
    static constexpr bool reads_move_deadline{false};
    static constexpr std::array mmio{mmio_range{.first = 0xfed00000, .size = 0x400}};
    static constexpr std::array lines{irq_line{24}, irq_line{25}, irq_line{26}, irq_line{27},
                                      irq_line{28}, irq_line{29}, irq_line{30}, irq_line{31}};
    static constexpr std::uint64_t frequency{1u << 24};
    static constexpr unsigned timer_count{8};
    /// The most interrupts a second of one timer: a guest that asks for more gets fewer.
    static constexpr std::uint64_t shortest_period{frequency / 10'000};

    using payload = hv_hpet_v1;
    static constexpr std::uint16_t data_class{hv_data_hpet};
    static constexpr std::uint16_t data_version{1};

    void reset(auto& context) {
        for (auto& t : timers_)
            t = {};
        enabled_ = false;
        interrupt_status_ = 0;
        base_count_ = 0;
        base_time_ = context.now();
        drive_lines(context);
    }

    [[nodiscard]] auto read_mmio(auto& context, std::uint64_t offset, unsigned size) -> std::uint64_t {
        if (not is_natural(offset, size))
            return 0;
        catch_up(context);
        auto const value = read_register(offset & ~std::uint64_t{7}, context.now()) >> (offset & 4) * 8;
        return size == 8 ? value : value & 0xffffffff;
    }

    void write_mmio(auto& context, std::uint64_t offset, unsigned size, std::uint64_t value) {
        if (not is_natural(offset, size))
            return;
        catch_up(context);
        auto const shift = (offset & 4) * 8;
        auto const mask = size == 8 ? ~std::uint64_t{0} : std::uint64_t{0xffffffff} << shift;
        write_register(offset & ~std::uint64_t{7}, {value << shift & mask, mask}, context.now());
        drive_lines(context);
    }

    [[nodiscard]] auto deadline() const -> instant {
        auto first = never;
        for (auto const& t : timers_)
            if (t.target < first)
                first = t.target;
        return first;
    }
    void expire(auto& context) { catch_up(context); }

    [[nodiscard]] auto save(auto&) const -> payload {
        payload image{};
        image.config = enabled_ ? hpet_registers::enable : 0;
        image.isr = interrupt_status_;
        image.count_base = base_count_;
        image.time_base = base_time_.since_creation;
        for (unsigned n{0}; n < timer_count; ++n) {
            auto const& t = timers_[n];
            image.timers[n] = {.config = t.config,
                               .msi = t.message,
                               .comp_val = t.comparator,
                               .comp_rate = t.rate,
                               .time_target = t.target == never ? 0 : t.target.since_creation};
        }
        return image;
    }

    auto restore(auto& context, payload const& image) -> status {
        auto const now = context.now();
        hpet other{};
        other.enabled_ = (image.config & hpet_registers::enable) != 0;
        other.interrupt_status_ = static_cast<std::uint8_t>(image.isr);
        other.base_count_ = image.count_base;
        other.base_time_ = instant{image.time_base};
        if ((image.config & ~hpet_registers::enable) != 0 or image.isr > 0xff or other.base_time_ < instant{} or
            other.base_time_ > now)
            return status::invalid_argument;
        for (unsigned n{0}; n < timer_count; ++n) {
            auto const& saved = image.timers[n];
            auto& t = other.timers_[n];
            t = {.config = saved.config, .message = saved.msi, .comparator = saved.comp_val, .rate = saved.comp_rate};
            if (t.config != hpet_registers::legal_config(t.config) or (not t.is_periodic() and t.rate != 0))
                return status::invalid_argument;
            if ((image.isr >> n & 1) != 0 and not t.holds_level())
                return status::invalid_argument;
            if (saved.time_target == 0) {
                other.arm(t, now);
                continue;
            }
            t.target = instant{saved.time_target};
            if (not other.enabled_ or not t.interrupts() or t.target < other.base_time_ or
                t.target > now + time_for(wrap + shortest_period + 1, frequency))
                return status::invalid_argument;
        }
        other.asserted_ = other.wanted_lines();
        *this = other;
        return status::ok;
    }

    /// Whether some timer sends its interrupt as an NMI.
    [[nodiscard, gnu::cold]] constexpr auto may_raise_nmi() const -> bool {
        for (auto const& t : timers_)
            if (auto const m = decode_msi(t.message >> 32, static_cast<std::uint32_t>(t.message));
                t.interrupts() and t.sends_message() and m and m.value.mode == delivery_mode::nmi)
                return true;
        return false;
    }

  private:
    static constexpr std::uint64_t wrap{std::uint64_t{1} << 32};

    struct timer {
        std::uint64_t config{hpet_registers::capabilities_of_timer};
        std::uint64_t message{}; ///< address 63:32, data 31:0
        std::uint32_t comparator{0xffffffff};
        std::uint32_t rate{};  ///< what a periodic timer adds to its comparator at each match
        instant target{never}; ///< when the counter next matches

        [[nodiscard]] constexpr auto interrupts() const -> bool {
            return (config & hpet_registers::interrupt_enable) != 0;
        }
        [[nodiscard]] constexpr auto is_periodic() const -> bool { return (config & hpet_registers::periodic) != 0; }
        [[nodiscard]] constexpr auto sends_message() const -> bool {
            return (config & hpet_registers::fsb_enable) != 0;
        }
        [[nodiscard]] constexpr auto holds_level() const -> bool {
            return interrupts() and not sends_message() and (config & hpet_registers::level) != 0;
        }
        /// 24-31, or 0: connected to nothing.
        [[nodiscard]] constexpr auto route() const -> unsigned {
            return static_cast<unsigned>((config & hpet_registers::route) >> hpet_registers::route_shift);
        }
    };

    /// The bits that an access writes.
    struct partial {
        std::uint64_t value;
        std::uint64_t mask;
        [[nodiscard]] constexpr auto over(std::uint64_t old) const -> std::uint64_t { return (old & ~mask) | value; }
    };

    [[nodiscard]] static constexpr auto is_natural(std::uint64_t offset, unsigned size) -> bool {
        return (size == 4 or size == 8) and offset % size == 0 and offset < mmio[0].size;
    }

    /// Counter ticks since base_time_.
    [[nodiscard]] auto elapsed(instant now) const -> std::uint64_t {
        return now > base_time_ ? ticks_in(now - base_time_, frequency) : 0;
    }
    [[nodiscard]] auto counter(instant now) const -> std::uint32_t {
        return enabled_ ? static_cast<std::uint32_t>(base_count_ + elapsed(now)) : base_count_;
    }

    /// Computes when the counter matches. A one-shot comparator in the past waits for the counter to wrap; a periodic
    /// one goes on to the next of its multiples.
    [[gnu::cold]] void arm(timer& t, instant now) const {
        t.target = never;
        if (not enabled_ or not t.interrupts())
            return;
        auto const behind = counter(now) - t.comparator;
        if (t.is_periodic() and t.rate != 0 and behind != 0 and behind < wrap / 2)
            t.comparator += (behind / t.rate + 1) * t.rate;
        std::uint32_t const ahead = t.comparator - counter(now);
        t.target = base_time_ + time_for(elapsed(now) + ahead, frequency);
    }
    void arm_all(instant now) {
        for (auto& t : timers_)
            arm(t, now);
    }

    /// Serves every timer whose match is due: once, however late this is.
    [[gnu::cold]] void catch_up(auto& context) {
        auto const now = context.now();
        for (unsigned n{0}; n < timer_count; ++n) {
            auto& t = timers_[n];
            if (t.target > now)
                continue;
            auto const match = elapsed(t.target);
            auto const late = elapsed(now) - match;
            auto const step = t.is_periodic() and t.rate != 0 ? std::uint64_t{t.rate} : wrap;
            auto const steps = (late + (step < shortest_period ? shortest_period : 0)) / step + 1;
            t.comparator += static_cast<std::uint32_t>(steps * step);
            t.target = base_time_ + time_for(match + steps * step, frequency);
            interrupt(context, n);
        }
        drive_lines(context);
    }

    [[gnu::cold]] void interrupt(auto& context, unsigned n) {
        auto const& t = timers_[n];
        if (t.sends_message()) {
            if (auto const m = decode_msi(t.message >> 32, static_cast<std::uint32_t>(t.message)))
                context.deliver(m.value);
        } else if (t.holds_level()) {
            interrupt_status_ |= static_cast<std::uint8_t>(1u << n);
        } else if (t.route() != 0) {
            context.pulse(irq_line{static_cast<std::uint8_t>(t.route())});
        }
    }

    /// One bit for each of the lines 24-31.
    [[nodiscard, gnu::cold]] auto wanted_lines() const -> std::uint8_t {
        std::uint8_t wanted{};
        for (unsigned n{0}; n < timer_count; ++n)
            if ((interrupt_status_ >> n & 1) != 0 and timers_[n].route() != 0)
                wanted |= static_cast<std::uint8_t>(1u << (timers_[n].route() & 7));
        return wanted;
    }
    void drive_lines(auto& context) {
        auto const wanted = wanted_lines();
        for (unsigned i{0}; i < lines.size(); ++i) {
            if (((wanted ^ asserted_) >> i & 1) == 0)
                continue;
            if ((wanted >> i & 1) != 0)
                context.raise(lines[i]);
            else
                context.lower(lines[i]);
        }
        asserted_ = wanted;
    }

    [[nodiscard]] auto read_register(std::uint64_t offset, instant now) const -> std::uint64_t {
        using namespace hpet_registers;
        switch (offset) {
        case at_capabilities:
            return capabilities(frequency, timer_count);
        case at_configuration:
            return enabled_ ? enable : 0;
        case at_interrupt_status:
            return interrupt_status_;
        case at_main_counter:
            return counter(now);
        default:
            break;
        }
        auto const n = (offset - at_timers) / timer_stride;
        if (offset < at_timers or n >= timer_count)
            return 0;
        switch (offset % timer_stride) {
        case at_timer_configuration:
            return timers_[n].config;
        case at_timer_comparator:
            return timers_[n].comparator;
        case at_timer_message:
            return timers_[n].message;
        default:
            return 0;
        }
    }

    [[gnu::cold]] void write_register(std::uint64_t offset, partial written, instant now) {
        using namespace hpet_registers;
        if (offset == at_configuration)
            return switch_counter((written.over(enabled_ ? enable : 0) & enable) != 0, now);
        if (offset == at_interrupt_status) {
            interrupt_status_ &= static_cast<std::uint8_t>(~written.value); // write one to clear
            return;
        }
        if (offset == at_main_counter) {
            base_count_ = static_cast<std::uint32_t>(written.over(counter(now)));
            base_time_ = now;
            return arm_all(now);
        }
        auto const n = (offset - at_timers) / timer_stride;
        if (offset < at_timers or n >= timer_count)
            return;
        switch (offset % timer_stride) {
        case at_timer_configuration:
            return configure(static_cast<unsigned>(n), written.over(timers_[n].config), now);
        case at_timer_comparator:
            return compare(timers_[n], written, now);
        case at_timer_message:
            timers_[n].message = written.over(timers_[n].message);
            return;
        default:
            return;
        }
    }

    [[gnu::cold]] void switch_counter(bool on, instant now) {
        if (on == enabled_)
            return;
        base_count_ = counter(now);
        base_time_ = now;
        enabled_ = on;
        arm_all(now);
    }

    [[gnu::cold]] void configure(unsigned n, std::uint64_t value, instant now) {
        auto& t = timers_[n];
        auto const old = t;
        t.config = hpet_registers::legal_config(value);
        if (t.config == old.config)
            return;
        if (not t.is_periodic())
            t.rate = 0;
        // A level that nobody can take back any more must not stay.
        if (not t.holds_level() or t.route() != old.route())
            interrupt_status_ &= static_cast<std::uint8_t>(~(1u << n));
        if (t.interrupts() != old.interrupts() or t.is_periodic() != old.is_periodic())
            arm(t, now);
    }

    /// A write to a periodic timer's comparator sets its period; the comparator itself only after VAL_SET was set,
    /// which this clears.
    [[gnu::cold]] void compare(timer& t, partial written, instant now) const {
        if (not t.is_periodic()) {
            t.comparator = static_cast<std::uint32_t>(written.over(t.comparator));
        } else {
            t.rate = static_cast<std::uint32_t>(written.over(t.rate));
            if ((t.config & hpet_registers::value_set) != 0) {
                t.comparator = t.rate;
                t.config &= ~hpet_registers::value_set;
            }
        }
        arm(t, now);
    }

    std::array<timer, timer_count> timers_{};
    instant base_time_{};
    std::uint32_t base_count_{}; ///< the counter at base_time_, or now if it stands still
    bool enabled_{};
    std::uint8_t interrupt_status_{}; ///< of level-triggered timers
    std::uint8_t asserted_{};         ///< lines 24-31 as the context was told
};
static_assert(device<hpet> and mmio_device<hpet> and timed_device<hpet> and line_device<hpet> and saveable<hpet>);

} // namespace hv
