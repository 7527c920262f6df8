// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv {

/// An interrupt line of the board. Lines 0-15 are the ISA interrupts; 16 and above exist at the I/O APIC only.
/// How a line reaches the interrupt controllers (ISA line 0 arrives at I/O APIC pin 2, say) is the vm's business.
struct irq_line {
    std::uint8_t number{};

    constexpr auto operator==(irq_line const&) const -> bool = default;
};

/// Delivery modes as the local APIC and the I/O APIC encode them. SDM Vol. 3A, "Interrupt Command Register (ICR)".
enum class delivery_mode : std::uint8_t {
    fixed = 0,
    lowest_priority = 1,
    smi = 2,
    nmi = 4,
    init = 5,
    start_up = 6,
    external = 7, ///< ExtINT: the vector comes from the 8259
};

/// Who of all local APICs a message is for, before its destination field is looked at.
enum class destination_shorthand : std::uint8_t { none = 0, self = 1, all_including_self = 2, all_excluding_self = 3 };

/// Every local APIC, as a destination.
inline constexpr std::uint32_t broadcast_destination{0xffffffff};

/// The destination that a sender with an 8-bit field means (I/O APIC, MSI, xAPIC): its all-ones is a broadcast, also to
/// receivers in x2APIC mode, where ffh alone is an ordinary id.
[[nodiscard]] constexpr auto widened_destination(std::uint8_t destination) -> std::uint32_t {
    return destination == 0xff ? broadcast_destination : destination;
}

/// What travels to the local APICs: from an I/O APIC pin, as an MSI, or from another local APIC.
struct interrupt_message {
    std::uint32_t destination{}; ///< APIC id or logical destination; 8 bits wide unless x2APIC is on
    std::uint8_t vector{};
    delivery_mode mode{delivery_mode::fixed};
    bool logical{};
    bool level{};    ///< level-triggered: its EOI goes back to the I/O APIC
    bool deassert{}; ///< INIT level de-assert, which modern processors ignore
    destination_shorthand shorthand{destination_shorthand::none};

    constexpr auto operator==(interrupt_message const&) const -> bool = default;
};

} // namespace hv
