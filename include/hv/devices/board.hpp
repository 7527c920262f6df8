// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/devices/device_set.hpp>
#include <hv/meta/range_table.hpp>
#include <hv/meta/tuple.hpp>
#include <hv/status.hpp>
#include <hv/time.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace hv {

/// The devices of one scope, alive: it finds the device that owns an address by comparisons with constants and calls it
/// directly. Addresses that nobody owns read as all ones; their writes vanish.
template <typename List>
class board;

template <typename... Devices>
class board<meta::types<Devices...>> {
    using tables = detail::address_tables<meta::types<Devices...>>;

  public:
    template <typename Device>
    static constexpr bool has{meta::contains<Device, meta::types<Devices...>>};

    template <typename Device>
    [[nodiscard]] constexpr auto get() -> Device& {
        static_assert(has<Device>, "this machine has no such device");
        return meta::get<meta::index_of<Device, Devices...>>(devices_);
    }

    /// Calls `f(device)` for each device, in the order of the set.
    template <typename Function>
    constexpr void for_each(Function&& f) {
        (f(meta::get<meta::index_of<Devices, Devices...>>(devices_)), ...);
    }

    template <typename Context>
    constexpr void reset(Context& context) {
        (meta::get<meta::index_of<Devices, Devices...>>(devices_).reset(context), ...);
        timers_touched_ = true;
    }

    /// What an IN of one byte reads. `claimed` is cleared if no device owns the port. `context` may be a maker of
    /// contexts: it is asked where the device was found.
    template <typename Context>
    [[nodiscard, gnu::always_inline]] auto read_port_byte(Context& context, std::uint16_t port, bool& claimed)
        -> std::uint32_t {
        port_reader<Context> visitor{*this, context, port, 1};
        if (meta::search<tables::ports>(port, visitor) == answer::whole) [[likely]]
            return visitor.value;
        claimed = false;
        return 0xff;
    }

    template <typename Context>
    [[gnu::always_inline]] void write_port_byte(Context& context, std::uint16_t port, std::uint32_t value,
                                                bool& claimed) {
        port_writer<Context> visitor{*this, context, port, 1, value};
        if (meta::search<tables::ports>(port, visitor) != answer::whole) [[unlikely]]
            claimed = false;
    }

    /// What an IN of 1, 2 or 4 bytes reads. `claimed` is cleared if no device owns any of the bytes.
    template <typename Context>
    [[nodiscard]] auto read_port(Context& context, std::uint16_t port, unsigned size, bool& claimed) -> std::uint32_t {
        if (size == 1)
            return read_one(context, port, claimed);
        wide_reader<Context> visitor{{*this, context, port, size}};
        if (meta::search<tables::ports>(port, visitor) == answer::whole)
            return visitor.value;
        return read_port_bytes(context, port, size, claimed);
    }

    template <typename Context>
    void write_port(Context& context, std::uint16_t port, unsigned size, std::uint32_t value, bool& claimed) {
        if (size == 1)
            return write_one(context, port, value, claimed);
        wide_writer<Context> visitor{{*this, context, port, size, value}};
        if (meta::search<tables::ports>(port, visitor) != answer::whole)
            write_port_bytes(context, port, size, value, claimed);
    }

    /// A memory access of 1, 2, 4 or 8 bytes. False if no device owns all of it.
    template <typename Context>
    [[nodiscard]] auto read_mmio(Context& context, std::uint64_t address, unsigned size, std::uint64_t& value) -> bool {
        mmio_reader<Context> visitor{*this, context, address, size};
        if (meta::search<tables::mmio>(address, visitor) != answer::whole)
            return false;
        value = visitor.value;
        return true;
    }

    template <typename Context>
    [[nodiscard]] auto write_mmio(Context& context, std::uint64_t address, unsigned size, std::uint64_t value) -> bool {
        mmio_writer<Context> visitor{*this, context, address, size, value};
        return meta::search<tables::mmio>(address, visitor) == answer::whole;
    }

    /// How a device answers to an MSR access.
    enum class msr_answer : std::uint8_t { not_mine, done, fault };

    template <typename Context>
    [[nodiscard, gnu::always_inline]] auto read_msr(Context& context, std::uint32_t index, std::uint64_t& value)
        -> msr_answer {
        msr_reader<Context> visitor{*this, context, index, value};
        return meta::search<tables::msrs>(index, visitor);
    }

    template <typename Context>
    [[nodiscard, gnu::always_inline]] auto write_msr(Context& context, std::uint32_t index, std::uint64_t value)
        -> msr_answer {
        msr_writer<Context> visitor{*this, context, index, value};
        return meta::search<tables::msrs>(index, visitor);
    }

    /// Asks the devices that answer some reads without `read_msr`. Nothing moves.
    [[nodiscard, gnu::always_inline]] auto read_msr_at_once([[maybe_unused]] std::uint32_t index,
                                                            std::uint64_t& value) const -> bool {
        return (read_msr_at_once<Devices>(index, value) or ...);
    }
    /// Asks the devices that answer some writes without `write_msr`. False: nothing was done.
    template <typename Context>
    [[nodiscard, gnu::always_inline]] auto write_msr_at_once(Context& context, [[maybe_unused]] std::uint32_t index,
                                                             [[maybe_unused]] std::uint64_t value) -> bool {
        return (write_msr_at_once<Devices>(context, index, value) or ...);
    }

    /// Restores one device, and looks for its deadline anew. `context` is a restoring_context.
    template <typename Device, typename Context>
    auto restore(Context& context, typename Device::payload const& image) -> status {
        timers_touched_ = true;
        return get<Device>().restore(context, image);
    }
    template <typename Device, typename Context>
    auto restore_extension(Context& context, typename Device::extension const& image) -> status {
        timers_touched_ = true;
        return get<Device>().restore_extension(context, image);
    }

    /// The earliest deadline of all timers.
    [[nodiscard]] constexpr auto deadline() const -> instant {
        instant earliest{never};
        (take_earlier<Devices>(earliest), ...);
        return earliest;
    }

    /// Lets every timer that is due fire.
    template <typename Context>
    void expire(Context& context) {
        (expire_one<Devices>(context), ...);
        timers_touched_ = true;
    }

    /// Whether a deadline may have moved since the last `take_timers_touched`.
    [[nodiscard]] constexpr auto timers_touched() const -> bool { return timers_touched_; }
    [[nodiscard]] constexpr auto take_timers_touched() -> bool { return std::exchange(timers_touched_, false); }

  protected:
    template <std::size_t Owner>
    [[nodiscard, gnu::always_inline]] constexpr auto reading() -> auto& {
        auto& device = meta::get<Owner>(devices_);
        if constexpr (reads_move_deadline<std::remove_reference_t<decltype(device)>>)
            timers_touched_ = true;
        return device;
    }

    /// Calls `write(device)` and notices whether it moved the device's deadline.
    template <std::size_t Owner, typename Write>
    [[gnu::always_inline]] constexpr auto writing(Write write) {
        auto& owner = meta::get<Owner>(devices_);
        if constexpr (timed_device<std::remove_reference_t<decltype(owner)>>) {
            struct watch {
                decltype(owner) device;
                bool& moved;
                instant before{device.deadline()};
                ~watch() {
                    if (device.deadline() != before)
                        moved = true;
                }
            } const watched{owner, timers_touched_};
            return write(owner);
        } else {
            return write(owner);
        }
    }

  private:
    enum class answer : std::uint8_t { nobody, part, whole };

    /// Whether an access that starts in a range of ports arrives in one piece.
    template <meta::owned_range Range>
    [[nodiscard, gnu::always_inline]] static constexpr auto reaches(std::uint16_t port, unsigned size) -> bool {
        return size <= Range.attribute and (Range.attribute == 1 or port + size <= Range.end);
    }

    template <typename Context>
    struct port_reader {
        board& self;
        Context& context;
        std::uint16_t port;
        unsigned size;
        std::uint32_t value{};

        template <std::size_t Entry>
        [[gnu::always_inline]] auto hit() -> answer {
            constexpr auto e = tables::ports[Entry];
            if (not reaches<e>(port, size))
                return answer::part;
            constexpr bool alone{e.end - e.first == 1}; // then the device compares constants
            auto const at = alone ? static_cast<std::uint16_t>(e.first) : port;
            auto& device = self.template reading<e.owner>();
            if constexpr (requires { context.make(); }) {
                auto own = context.make();
                value = device.read_port(own, at, size);
            } else {
                value = device.read_port(context, at, size);
            }
            return answer::whole;
        }
        [[gnu::always_inline]] auto miss() -> answer { return answer::nobody; }
    };

    template <typename Context>
    struct port_writer {
        board& self;
        Context& context;
        std::uint16_t port;
        unsigned size;
        std::uint32_t value;

        template <std::size_t Entry>
        [[gnu::always_inline]] auto hit() -> answer {
            constexpr auto e = tables::ports[Entry];
            if (not reaches<e>(port, size))
                return answer::part;
            self.template writing<e.owner>(
                [&](auto& device) __attribute__((always_inline)) { device.write_port(context, port, size, value); });
            return answer::whole;
        }
        [[gnu::always_inline]] auto miss() -> answer { return answer::nobody; }
    };

    /// Of more than one byte: most ports take no such access.
    template <typename Visitor>
    struct wide : Visitor {
        template <std::size_t Entry>
        [[gnu::always_inline]] auto hit() -> answer {
            if constexpr (tables::ports[Entry].attribute == 1)
                return answer::part;
            else
                return Visitor::template hit<Entry>();
        }
    };
    template <typename Context>
    using wide_reader = wide<port_reader<Context>>;
    template <typename Context>
    using wide_writer = wide<port_writer<Context>>;

    template <typename Context>
    struct mmio_reader {
        board& self;
        Context& context;
        std::uint64_t address;
        unsigned size;
        std::uint64_t value{};

        template <std::size_t Entry>
        [[gnu::always_inline]] auto hit() -> answer {
            constexpr auto e = tables::mmio[Entry];
            if (e.end - address < size)
                return answer::part;
            value = self.template reading<e.owner>().read_mmio(context, address - e.first, size);
            return answer::whole;
        }
        [[gnu::always_inline]] auto miss() -> answer { return answer::nobody; }
    };

    template <typename Context>
    struct mmio_writer {
        board& self;
        Context& context;
        std::uint64_t address;
        unsigned size;
        std::uint64_t value;

        template <std::size_t Entry>
        [[gnu::always_inline]] auto hit() -> answer {
            constexpr auto e = tables::mmio[Entry];
            if (e.end - address < size)
                return answer::part;
            self.template writing<e.owner>([&](auto& device) __attribute__((always_inline)) {
                device.write_mmio(context, address - e.first, size, value);
            });
            return answer::whole;
        }
        [[gnu::always_inline]] auto miss() -> answer { return answer::nobody; }
    };

    template <typename Context>
    struct msr_reader {
        board& self;
        Context& context;
        std::uint32_t index;
        std::uint64_t& value;

        template <std::size_t Entry>
        [[gnu::always_inline]] auto hit() -> msr_answer {
            auto const ok = self.template reading<tables::msrs[Entry].owner>().read_msr(context, index, value);
            return ok ? msr_answer::done : msr_answer::fault;
        }
        [[gnu::always_inline]] auto miss() -> msr_answer { return msr_answer::not_mine; }
    };

    template <typename Context>
    struct msr_writer {
        board& self;
        Context& context;
        std::uint32_t index;
        std::uint64_t value;

        template <std::size_t Entry>
        [[gnu::always_inline]] auto hit() -> msr_answer {
            auto const ok = self.template writing<tables::msrs[Entry].owner>(
                [&](auto& device) __attribute__((always_inline)) { return device.write_msr(context, index, value); });
            return ok ? msr_answer::done : msr_answer::fault;
        }
        [[gnu::always_inline]] auto miss() -> msr_answer { return msr_answer::not_mine; }
    };

    template <typename Context>
    [[nodiscard, gnu::noinline]] auto read_one(Context& context, std::uint16_t port, bool& claimed) -> std::uint32_t {
        return read_port_byte(context, port, claimed);
    }
    template <typename Context>
    [[gnu::noinline]] void write_one(Context& context, std::uint16_t port, std::uint32_t value, bool& claimed) {
        write_port_byte(context, port, value, claimed);
    }

    // The bus splits what no device takes in one piece; ports wrap at 64 Ki.
    template <typename Context>
    [[nodiscard, gnu::noinline, gnu::cold]] auto read_port_bytes(Context& context, std::uint16_t port, unsigned size,
                                                                 bool& claimed) -> std::uint32_t {
        std::uint32_t value{0};
        bool any{false};
        for (unsigned i{0}; i != size; ++i) {
            bool one{true};
            value |= (read_one(context, static_cast<std::uint16_t>(port + i), one) & 0xff) << (8 * i);
            any = any or one;
        }
        claimed = any;
        return value;
    }

    template <typename Context>
    [[gnu::noinline, gnu::cold]] void write_port_bytes(Context& context, std::uint16_t port, unsigned size,
                                                       std::uint32_t value, bool& claimed) {
        bool any{false};
        for (unsigned i{0}; i != size; ++i) {
            bool one{true};
            write_one(context, static_cast<std::uint16_t>(port + i), (value >> (8 * i)) & 0xff, one);
            any = any or one;
        }
        claimed = any;
    }

    template <typename Device>
    [[nodiscard, gnu::always_inline]] auto read_msr_at_once(std::uint32_t index, std::uint64_t& value) const -> bool {
        auto const& device = meta::get<meta::index_of<Device, Devices...>>(devices_);
        if constexpr (requires { device.read_msr_at_once(index, value); })
            return device.read_msr_at_once(index, value);
        else
            return false;
    }
    template <typename Device, typename Context>
    [[nodiscard, gnu::always_inline]] auto write_msr_at_once(Context& context, std::uint32_t index, std::uint64_t value)
        -> bool {
        auto& device = meta::get<meta::index_of<Device, Devices...>>(devices_);
        if constexpr (requires { device.write_msr_at_once(context, index, value); })
            return device.write_msr_at_once(context, index, value);
        else
            return false;
    }

    template <typename Device>
    constexpr void take_earlier(instant& earliest) const {
        if constexpr (timed_device<Device>) {
            auto const d = meta::get<meta::index_of<Device, Devices...>>(devices_).deadline();
            if (d < earliest)
                earliest = d;
        }
    }

    template <typename Device, typename Context>
    void expire_one(Context& context) {
        if constexpr (timed_device<Device>) {
            auto& device = meta::get<meta::index_of<Device, Devices...>>(devices_);
            if (device.deadline() <= context.now())
                device.expire(context);
        }
    }

    meta::tuple<Devices...> devices_{};
    bool timers_touched_{true};
};

} // namespace hv
