// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <tests/unit/devices/test_context.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <stdexcept>

namespace hv::test {

/// Whether two payloads hold the same bytes.
template <typename Payload>
auto same(Payload const& a, Payload const& b) -> bool {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

/// Reads and writes every register of a device with every size, in random order with random values, at random times.
/// After each call the recorded events must make sense: a line is asserted once before it is released.
template <typename Device>
void abuse(Device& device, device_context& context, std::mt19937_64& random, unsigned calls) {
    std::optional<bool> level[32]{}; // as found: unknown
    for (unsigned i{0}; i != calls; ++i) {
        auto const value = random() >> random() % 64;
        if constexpr (port_device<Device>) {
            auto const& range = Device::ports[random() % Device::ports.size()];
            auto const port = static_cast<std::uint16_t>(range.first + random() % range.count);
            unsigned const size{1u << random() % 3};
            if (random() % 2 == 0)
                device.write_port(context, port, size, static_cast<std::uint32_t>(value));
            else
                static_cast<void>(device.read_port(context, port, size));
        }
        if constexpr (mmio_device<Device>) {
            auto const offset = random() % Device::mmio[0].size;
            unsigned const size{1u << random() % 4};
            if (random() % 2 == 0)
                device.write_mmio(context, random() % 4 != 0 ? offset & ~7ull : offset, size, value);
            else
                static_cast<void>(device.read_mmio(context, offset, size));
        }
        if constexpr (timed_device<Device>) {
            if (device.deadline() <= context.time or random() % 16 == 0)
                device.expire(context);
            auto const due = device.deadline();
            if (due != never and due > context.time and random() % 4 == 0)
                context.time = due + static_cast<nanoseconds>(random() % 2 == 0 ? 0 : random() % 5'000'000'000);
        }
        context.advance(static_cast<nanoseconds>(random() % (random() % 8 == 0 ? 3'000'000'000 : 20'000)));
        for (auto const& e : context.lines) {
            if (e.what == line_event::kind::pulse)
                continue;
            if (level[e.line] == (e.what == line_event::kind::raise))
                throw std::logic_error{"a line was asserted or released twice"};
            level[e.line] = e.what == line_event::kind::raise;
        }
        context.forget();
    }
}

/// Random changes of a payload, byte by byte: each is refused and changes nothing, or is taken and the device then
/// saves itself to something it takes again. Answers how many were refused.
template <typename Device>
auto mutate(Device& device, device_context& context, std::mt19937_64& random, unsigned rounds) -> unsigned {
    unsigned refused{};
    auto const original = device.save(context);
    for (unsigned i{0}; i != rounds; ++i) {
        auto image = original;
        auto* const bytes = reinterpret_cast<unsigned char*>(&image);
        for (auto n = 1 + random() % 4; n != 0; --n)
            bytes[random() % sizeof image] = static_cast<unsigned char>(random());
        auto const before = device.save(context);
        if (device.restore(context, image) != status::ok) {
            ++refused;
            if (not same(before, device.save(context)))
                throw std::logic_error{"a refused payload changed the device"};
            continue;
        }
        auto const taken = device.save(context);
        if (device.restore(context, taken) != status::ok or not same(taken, device.save(context)))
            throw std::logic_error{"a device refuses what it saved"};
        context.lines.clear();
        Device victim{device}; // what follows must not change what the next image is compared with
        auto other = context;
        for (unsigned k{0}; k != 4; ++k) {
            if constexpr (timed_device<Device>) {
                static_cast<void>(victim.deadline());
                victim.expire(other);
            }
            other.advance(static_cast<nanoseconds>(random() % 100'000'000'000));
        }
    }
    return refused;
}

} // namespace hv::test
