// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/interrupt.hpp>
#include <hv/status.hpp>
#include <hv/time.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

/// What a device is. A device owns its registers and nothing else; clock, interrupt lines and everything beyond them
/// come from outside, as the context argument of each call. It declares as constexpr data what it answers to:
///
///     struct my_device {
///         static constexpr char const* name{"my_device"};
///         static constexpr std::array ports{hv::port_range{.first = 0x510, .count = 2}};
///         static constexpr std::array lines{hv::irq_line{5}};
///         auto read_port(auto& context, std::uint16_t port, unsigned size) -> std::uint32_t;
///         void write_port(auto& context, std::uint16_t port, unsigned size, std::uint32_t value);
///     };
///
/// and device_set finds overlaps at compile time and dispatches without a pointer.
namespace hv {

/// Consecutive I/O ports of one device. An access that lies inside and is at most `widest` bytes arrives in one piece;
/// every other one is split into bytes, as the bus does.
struct port_range {
    std::uint16_t first{};
    std::uint16_t count{};
    std::uint8_t widest{1};

    [[nodiscard]] constexpr auto end() const -> std::uint32_t { return std::uint32_t{first} + count; }
};

/// A range of guest-physical addresses that a device decodes. Accesses arrive as they are, 1, 2, 4 or 8 bytes wide at
/// any offset, and never reach beyond the range.
struct mmio_range {
    std::uint64_t first{};
    std::uint64_t size{};

    [[nodiscard]] constexpr auto end() const -> std::uint64_t { return first + size; }
};

struct msr_range {
    std::uint32_t first{};
    std::uint32_t count{};

    [[nodiscard]] constexpr auto end() const -> std::uint64_t { return std::uint64_t{first} + count; }
};

/// Whether one device serves the whole machine, or every virtual processor has its own.
enum class device_scope : std::uint8_t { machine, processor };

/// How a device of a stream sends a byte: stream 0 is the console.
struct stream_id {
    std::uint8_t number{};
};

/// Every service that a device may ask its context for, with the meaning it can rely on. Real contexts are the vm's;
/// tests bring their own. Concepts are checked against this one. Only `send` and `end_of_interrupt` may call into the
/// device before they return: a message to self arrives at once.
struct device_context_archetype {
    [[nodiscard]] auto now() const -> instant;             ///< time of the machine; does not move during a call
    [[nodiscard]] auto wall_clock() const -> std::int64_t; ///< nanoseconds since 1970-01-01T00:00Z, at now()

    void raise(irq_line); ///< assert a line; a device asserts a line at most once before it lowers it
    void lower(irq_line);
    void pulse(irq_line); ///< raise and lower: an edge

    void set_interrupt_request(bool level); ///< 8259 only: its INT output
    void deliver(interrupt_message const&); ///< I/O APIC, HPET: a message to the local APICs

    void put(stream_id, std::uint8_t byte); ///< UART, debug port: one byte out
    void power_off();                       ///< ACPI S5
    void reset_machine();                   ///< reset port, keyboard controller
    void exit_machine(std::uint32_t code);  ///< exit port: the guest ends the run with a code

    // Processor scope only: the local APIC.
    [[nodiscard]] auto processor_id() const -> std::uint32_t;
    [[nodiscard]] auto guest_tsc() const -> std::uint64_t;
    [[nodiscard]] auto instant_of_tsc(std::uint64_t guest_tsc) const -> instant; ///< when the guest's TSC reads that
    void send(interrupt_message const&);                                         ///< an IPI; messages to self included
    void end_of_interrupt(std::uint8_t vector); ///< a level-triggered vector was ended: tell the I/O APICs
};

/// Reached through I/O ports.
template <typename D>
concept port_device =
    requires(D& d, device_context_archetype& context, std::uint16_t port, unsigned size, std::uint32_t value) {
        { D::ports[0] } -> std::convertible_to<port_range>;
        { d.read_port(context, port, size) } -> std::same_as<std::uint32_t>;
        { d.write_port(context, port, size, value) } -> std::same_as<void>;
    };

/// Reached through memory accesses. `offset` counts from the start of the range.
template <typename D>
concept mmio_device =
    requires(D& d, device_context_archetype& context, std::uint64_t offset, unsigned size, std::uint64_t value) {
        { D::mmio[0] } -> std::convertible_to<mmio_range>;
        { d.read_mmio(context, offset, size) } -> std::same_as<std::uint64_t>;
        { d.write_mmio(context, offset, size, value) } -> std::same_as<void>;
    };

/// Reached through RDMSR and WRMSR. A false answer becomes #GP.
template <typename D>
concept msr_device =
    requires(D& d, device_context_archetype& context, std::uint32_t index, std::uint64_t& out, std::uint64_t value) {
        { D::msrs[0] } -> std::convertible_to<msr_range>;
        { d.read_msr(context, index, out) } -> std::same_as<bool>;
        { d.write_msr(context, index, value) } -> std::same_as<bool>;
    };

/// Has a timer. The vm asks for the deadline after every call into the device and calls `expire` at or after it.
template <typename D>
concept timed_device = requires(D& d, D const& c, device_context_archetype& context) {
    { c.deadline() } -> std::same_as<instant>; ///< `never` if no timer is armed
    { d.expire(context) } -> std::same_as<void>;
};

/// Whether a read may bring the deadline of a timed device forward, as the register that acknowledges a clock's
/// interrupts does. A device whose reads do not declares `static constexpr bool reads_move_deadline{false}`.
template <typename D>
inline constexpr bool reads_move_deadline = [] {
    if constexpr (requires { D::reads_move_deadline; })
        return D::reads_move_deadline;
    else
        return timed_device<D>;
}();

/// Drives interrupt lines; no other device of the set may name them.
template <typename D>
concept line_device = requires {
    { D::lines[0] } -> std::convertible_to<irq_line>;
};

/// Has a saved form: a plain payload with a class number and version (hv/abi/vmm_data.hpp). `restore` treats the
/// payload as hostile: it checks everything first and changes nothing unless it answers ok.
template <typename D>
concept saveable = requires(D& d, D const& c, device_context_archetype& context, typename D::payload const& image) {
    requires std::is_trivially_copyable_v<typename D::payload>;
    { D::data_class } -> std::convertible_to<std::uint16_t>;
    { D::data_version } -> std::convertible_to<std::uint16_t>;
    { c.save(context) } -> std::same_as<typename D::payload>;
    { d.restore(context, image) } -> std::same_as<status>;
};

/// Has state that its payload, fixed by the reference interface, cannot carry: a second payload under a class number of
/// its own, restored after the first one by the same rules.
template <typename D>
concept extended =
    saveable<D> and requires(D& d, D const& c, device_context_archetype& context, typename D::extension const& image) {
        requires std::is_trivially_copyable_v<typename D::extension>;
        { D::extension_class } -> std::convertible_to<std::uint16_t>;
        { D::extension_version } -> std::convertible_to<std::uint16_t>;
        { c.save_extension(context) } -> std::same_as<typename D::extension>;
        { d.restore_extension(context, image) } -> std::same_as<status>;
    };

/// Keeps nothing between calls and says so: there is nothing to save.
template <typename D>
concept stateless = std::is_empty_v<D> and D::stateless;

/// Any device: it has a name, can be reset to its power-on state, and does at least one thing.
template <typename D>
concept device = std::default_initializable<D> and requires(D& d, device_context_archetype& context) {
    { D::name } -> std::convertible_to<char const*>;
    { d.reset(context) } -> std::same_as<void>;
} and (port_device<D> or mmio_device<D> or msr_device<D> or line_device<D> or timed_device<D>);

/// The scope a device declares; machine if it declares none.
template <typename D>
inline constexpr device_scope scope_of = [] {
    if constexpr (requires { D::scope; })
        return D::scope;
    else
        return device_scope::machine;
}();

} // namespace hv
