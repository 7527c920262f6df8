// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/devices/device.hpp>
#include <hv/meta/range_table.hpp>
#include <hv/meta/tuple.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv {

namespace detail {

template <typename D>
consteval auto port_ranges() {
    if constexpr (port_device<D>)
        return D::ports;
    else
        return std::array<port_range, 0>{};
}
template <typename D>
consteval auto mmio_ranges() {
    if constexpr (mmio_device<D>)
        return D::mmio;
    else
        return std::array<mmio_range, 0>{};
}
template <typename D>
consteval auto msr_ranges() {
    if constexpr (msr_device<D>)
        return D::msrs;
    else
        return std::array<msr_range, 0>{};
}
template <typename D>
consteval auto irq_lines() {
    if constexpr (line_device<D>)
        return D::lines;
    else
        return std::array<irq_line, 0>{};
}

template <typename A, typename B>
consteval auto share_a_port() -> bool {
    for (auto const a : port_ranges<A>())
        for (auto const b : port_ranges<B>())
            if (a.first < b.end() and b.first < a.end())
                return true;
    return false;
}
template <typename A, typename B>
consteval auto share_mmio() -> bool {
    for (auto const a : mmio_ranges<A>())
        for (auto const b : mmio_ranges<B>())
            if (a.first < b.end() and b.first < a.end())
                return true;
    return false;
}
template <typename A, typename B>
consteval auto share_an_msr() -> bool {
    for (auto const a : msr_ranges<A>())
        for (auto const b : msr_ranges<B>())
            if (a.first < b.end() and b.first < a.end())
                return true;
    return false;
}
template <typename A, typename B>
consteval auto share_a_line() -> bool {
    for (auto const a : irq_lines<A>())
        for (auto const b : irq_lines<B>())
            if (a == b)
                return true;
    return false;
}

template <typename First, typename Second>
struct pair_check {
    static_assert(not share_a_port<First, Second>(), "two devices of one device_set claim the same I/O port");
    static_assert(not share_mmio<First, Second>(),
                  "two devices of one device_set claim the same memory-mapped address");
    static_assert(not share_an_msr<First, Second>(),
                  "two devices of one device_set claim the same model-specific register");
    static_assert(not share_a_line<First, Second>(), "an interrupt line has two owners in one device_set");
    static constexpr bool ok{true};
};
template <typename Device>
struct pair_check<Device, Device> {
    static constexpr bool ok{true};
};

template <typename Device, typename... All>
struct check_against_all {
    static_assert((std::size_t{std::is_same_v<Device, All>} + ...) == 1, "a device_set names the same device twice");
    static constexpr bool ok{(pair_check<Device, All>::ok and ...)};
};

template <typename D>
consteval auto sound_ranges() -> bool {
    for (auto const r : port_ranges<D>())
        if (r.count == 0 or r.end() > 0x10000 or (r.widest != 1 and r.widest != 2 and r.widest != 4))
            return false;
    for (auto const r : mmio_ranges<D>())
        if (r.size == 0 or r.end() < r.first)
            return false;
    return true;
}

template <typename D>
struct one_check {
    static_assert(device<D>,
                  "a member of a device_set is not an hv::device: see hv/devices/device.hpp for what it needs");
    static_assert(sound_ranges<D>(), "a device declares an empty or impossible range of ports or addresses");
    static_assert(scope_of<D> == device_scope::machine or not port_device<D>,
                  "a device of processor scope cannot have I/O ports: ports belong to the machine");
    static constexpr bool ok{true};
};

template <device_scope Scope>
struct has_scope {
    template <typename D>
    static constexpr bool value{scope_of<D> == Scope};
};

struct ports_of {
    template <typename D>
    static constexpr auto ranges{port_ranges<D>()};
    static constexpr auto attribute(port_range r) -> std::uint64_t { return r.widest; }
};
struct mmio_of {
    template <typename D>
    static constexpr auto ranges{mmio_ranges<D>()};
    static constexpr auto attribute(mmio_range) -> std::uint64_t { return 0; }
};
struct msrs_of {
    template <typename D>
    static constexpr auto ranges{msr_ranges<D>()};
    static constexpr auto attribute(msr_range) -> std::uint64_t { return 0; }
};

/// All ranges of one kind, sorted; the owner is the device's place in the list.
template <typename Kind, typename... Devices>
consteval auto make_table() {
    std::array<meta::owned_range, (Kind::template ranges<Devices>.size() + ... + 0)> table{};
    std::size_t entry{0};
    std::size_t owner{0};
    [[maybe_unused]] auto const append = [&](auto const& ranges) {
        for (auto const range : ranges)
            table[entry++] = {
                .first = range.first, .end = range.end(), .owner = owner, .attribute = Kind::attribute(range)};
        ++owner;
    };
    (append(Kind::template ranges<Devices>), ...);
    return meta::sorted(table);
}

/// The address tables of a list of devices of one scope.
template <typename List>
struct address_tables;
template <typename... Devices>
struct address_tables<meta::types<Devices...>> {
    static constexpr auto ports = make_table<ports_of, Devices...>();
    static constexpr auto mmio = make_table<mmio_of, Devices...>();
    static constexpr auto msrs = make_table<msrs_of, Devices...>();
    static_assert(meta::disjoint(ports) and meta::disjoint(mmio) and meta::disjoint(msrs),
                  "a device declares the same port, address or register twice");
    static constexpr bool ok{true};
};

} // namespace detail

/// The devices of a machine. Overlaps do not compile; addresses become sorted tables.
template <typename... Devices>
struct device_set {
    static_assert((detail::one_check<Devices>::ok and ...) and
                  (detail::check_against_all<Devices, Devices...>::ok and ...));

    using all = meta::types<Devices...>;
    using of_machine = meta::filter<detail::has_scope<device_scope::machine>, Devices...>;
    using of_processor = meta::filter<detail::has_scope<device_scope::processor>, Devices...>;
    using machine_addresses = detail::address_tables<of_machine>;
    using processor_addresses = detail::address_tables<of_processor>;
    static_assert(machine_addresses::ok and processor_addresses::ok);

    static constexpr bool all_saveable{((saveable<Devices> or stateless<Devices>) and ... and true)};

    template <typename Device>
    static constexpr bool has{meta::contains<Device, all>};
};

} // namespace hv
