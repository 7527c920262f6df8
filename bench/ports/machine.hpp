// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/svm.hpp>
#include <hv/devices/debug_port.hpp>
#include <hv/devices/exit_port.hpp>
#include <hv/vmm.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

/// A device that is one port with a byte behind it.
template <std::uint16_t Port>
class byte_port {
  public:
    static constexpr char const* name{"byte_port"};
    static constexpr std::array ports{hv::port_range{.first = Port, .count = 1}};

    void reset(auto&) { value_ = 0x5a; }
    [[nodiscard]] auto read_port(auto&, std::uint16_t, unsigned) -> std::uint32_t { return value_; }
    void write_port(auto&, std::uint16_t, unsigned, std::uint32_t value) { value_ = static_cast<std::uint8_t>(value); }

  private:
    std::uint8_t value_{};
};

/// A byte port at 1000h and at each fourth port behind it, beside the two ports that the guest speaks through.
template <typename Indices>
struct byte_ports;
template <std::size_t... Indices>
struct byte_ports<std::index_sequence<Indices...>> {
    using devices = hv::device_set<hv::debug_port, hv::exit_port, byte_port<0x1000 + 4 * Indices>...>;
};

/// The machines of ./hv bench --ports: they differ in how many devices have a port.
template <std::size_t Count>
struct ports_machine : hv::default_machine {
    using backend = hv::svm;
    using devices = typename byte_ports<std::make_index_sequence<Count>>::devices;
    static constexpr bool save_restore{false};
};
struct ports_1 : ports_machine<1> {};
struct ports_2 : ports_machine<2> {};
struct ports_4 : ports_machine<4> {};
struct ports_8 : ports_machine<8> {};
struct ports_16 : ports_machine<16> {};
struct ports_32 : ports_machine<32> {};
struct ports_64 : ports_machine<64> {};
