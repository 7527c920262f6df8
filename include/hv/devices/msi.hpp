// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/interrupt.hpp>
#include <hv/status.hpp>

#include <cstdint>

namespace hv {

/// The interrupt that a write of `data` to `address` stands for: a message-signalled interrupt, or an HPET timer's.
/// invalid_argument if the address is not FEEx_xxxxh, the delivery mode is reserved or a level is taken back.
/// SDM Vol. 3A, "Message Address Register Format" and "Message Data Register Format".
[[nodiscard]] constexpr auto decode_msi(std::uint64_t address, std::uint32_t data) -> result<interrupt_message> {
    constexpr std::uint64_t logical{1u << 2};
    auto const mode = static_cast<delivery_mode>(data >> 8 & 7);
    auto const level = (data >> 15 & 1) != 0;
    auto const asserted = (data >> 14 & 1) != 0;
    if (address >> 20 != 0xfee or (level and not asserted))
        return status::invalid_argument;
    if (mode != delivery_mode::fixed and mode != delivery_mode::lowest_priority and mode != delivery_mode::smi and
        mode != delivery_mode::nmi and mode != delivery_mode::init and mode != delivery_mode::external)
        return status::invalid_argument;
    return interrupt_message{.destination = widened_destination(static_cast<std::uint8_t>(address >> 12)),
                             .vector = static_cast<std::uint8_t>(data),
                             .mode = mode,
                             // The manual says that the mode counts only with the redirection hint. Processors honour
                             // it without, and Linux sends logical destinations that way.
                             .logical = (address & logical) != 0,
                             .level = level};
}

} // namespace hv
