// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/svm.hpp>
#include <hv/devices/debug_port.hpp>
#include <hv/devices/exit_port.hpp>
#include <hv/devices/pic_8259.hpp>
#include <hv/vmm.hpp>

#include <array>
#include <cstdint>

/// A device of one's own: a counter at ports 0x510-0x511 that raises interrupt line 5 when it reaches its limit.
class countdown {
  public:
    static constexpr char const* name{"countdown"};
    static constexpr std::array ports{hv::port_range{.first = 0x510, .count = 2}};
    static constexpr std::array lines{hv::irq_line{5}};

    struct payload { // the saved form; classes from 0x9000 on are free for users
        std::uint8_t left;
    };
    static constexpr std::uint16_t data_class{0x9000};
    static constexpr std::uint16_t data_version{1};

    void reset(auto&) { left_ = 0; }

    auto read_port(auto&, std::uint16_t port, unsigned) -> std::uint32_t { return port == 0x510 ? left_ : 0xff; }

    /// Port 0x510 sets how often port 0x511 must be written before the interrupt comes.
    void write_port(auto& context, std::uint16_t port, unsigned, std::uint32_t value) {
        if (port == 0x510)
            left_ = static_cast<std::uint8_t>(value);
        else if (left_ != 0 and --left_ == 0)
            context.pulse(lines[0]);
    }

    [[nodiscard]] auto save(auto&) const -> payload { return {left_}; }
    auto restore(auto&, payload const& image) -> hv::status {
        left_ = image.left;
        return hv::status::ok;
    }

  private:
    std::uint8_t left_{};
};
static_assert(hv::port_device<countdown> and hv::line_device<countdown> and hv::saveable<countdown>);

struct my_device : hv::default_machine {
    using backend = hv::svm;
    using devices = hv::device_set<countdown, hv::pic_8259, hv::debug_port, hv::exit_port>;
};
