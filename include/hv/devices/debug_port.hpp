// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/devices/device.hpp>

#include <array>
#include <cstdint>

namespace hv {

/// Port E9h: a byte written goes to a stream, nothing to set up; it reads as E9h where it exists. A Bochs convention.
template <std::uint8_t Stream>
class debug_port_to {
  public:
    static constexpr char const* name{"debug_port"};
    static constexpr std::array ports{port_range{.first = 0xe9, .count = 1}};
    static constexpr bool stateless{true};

    void reset(auto&) {}
    [[nodiscard]] auto read_port(auto&, std::uint16_t, unsigned) -> std::uint32_t { return ports[0].first; }
    void write_port(auto& context, std::uint16_t, unsigned, std::uint32_t value) {
        context.put(stream_id{Stream}, static_cast<std::uint8_t>(value));
    }
};

/// The debug port of the console.
using debug_port = debug_port_to<0>;
static_assert(device<debug_port> and port_device<debug_port> and stateless<debug_port>);

} // namespace hv
