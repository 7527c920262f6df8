// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/devices/device.hpp>

#include <array>
#include <cstdint>

namespace hv {

/// Port F4h, where test kernels end their run: a write of 1, 2 or 4 bytes stops the machine with that code.
class exit_port {
  public:
    static constexpr char const* name{"exit_port"};
    static constexpr std::array ports{port_range{.first = 0xf4, .count = 4, .widest = 4}};
    static constexpr bool stateless{true};

    void reset(auto&) {}
    [[nodiscard]] auto read_port(auto&, std::uint16_t, unsigned) -> std::uint32_t { return 0; }
    void write_port(auto& context, std::uint16_t, unsigned, std::uint32_t value) { context.exit_machine(value); }
};
static_assert(device<exit_port> and port_device<exit_port> and stateless<exit_port>);

} // namespace hv
