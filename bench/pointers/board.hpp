// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bench/pointers/sorted_table.hpp>

#include <hv/devices/board.hpp>
#include <hv/devices/device_set.hpp>
#include <hv/meta/tuple.hpp>

#include <cstddef>
#include <cstdint>

namespace hv {

namespace pointers {

/// A list of devices whose board finds them in tables of handlers.
template <typename List>
struct registered {
    static constexpr std::size_t size{List::size};
};

/// The devices of a machine, called through handlers that they register when they are reset.
template <typename Set>
struct registered_devices : Set {
    using of_machine = registered<typename Set::of_machine>;
    using of_processor = registered<typename Set::of_processor>;
};

/// Each handler gets what it was registered with, and the context of the call.
struct port_handler {
    std::uint64_t first, end, widest;
    void* argument;
    std::uint32_t (*read)(void* argument, void* context, std::uint16_t port, unsigned size);
    void (*write)(void* argument, void* context, std::uint16_t port, unsigned size, std::uint32_t value);
};
struct mmio_handler {
    std::uint64_t first, end;
    void* argument;
    std::uint64_t (*read)(void* argument, void* context, std::uint64_t offset, unsigned size);
    void (*write)(void* argument, void* context, std::uint64_t offset, unsigned size, std::uint64_t value);
};
struct msr_handler {
    std::uint64_t first, end;
    void* argument;
    bool (*read)(void* argument, void* context, std::uint32_t index, std::uint64_t& value);
    bool (*write)(void* argument, void* context, std::uint32_t index, std::uint64_t value);
};

} // namespace pointers

/// The same devices behind run-time tables. Handlers forget the type of their context: every call has that of `reset`.
template <typename... Devices>
class board<pointers::registered<meta::types<Devices...>>> : public board<meta::types<Devices...>> {
    using base = board<meta::types<Devices...>>;

  public:
    using msr_answer = typename base::msr_answer;

    template <typename Context>
    void reset(Context& context) {
        base::reset(context);
        ports_.clear();
        mmio_.clear();
        msrs_.clear();
        (attach<Devices, Context>(), ...);
    }

    template <typename Context>
    [[nodiscard]] auto read_port(Context& context, std::uint16_t port, unsigned size, bool& claimed) -> std::uint32_t {
        auto const* const handler = ports_.find(port);
        if (handler != nullptr and size <= handler->widest and port + size <= handler->end)
            return handler->read(handler->argument, &context, port, size);
        if (size == 1) {
            claimed = false;
            return 0xff;
        }
        return read_port_bytes(context, port, size, claimed);
    }

    template <typename Context>
    void write_port(Context& context, std::uint16_t port, unsigned size, std::uint32_t value, bool& claimed) {
        auto const* const handler = ports_.find(port);
        if (handler != nullptr and size <= handler->widest and port + size <= handler->end)
            return handler->write(handler->argument, &context, port, size, value);
        if (size == 1) {
            claimed = false;
            return;
        }
        write_port_bytes(context, port, size, value, claimed);
    }

    template <typename Context>
    [[nodiscard]] auto read_port_byte(Context& context, std::uint16_t port, bool& claimed) -> std::uint32_t {
        if constexpr (requires { context.make(); }) { // handlers know one type of context, that of reset
            auto made = context.make();
            return read_port(made, port, 1, claimed);
        } else {
            return read_port(context, port, 1, claimed);
        }
    }

    template <typename Context>
    void write_port_byte(Context& context, std::uint16_t port, std::uint32_t value, bool& claimed) {
        write_port(context, port, 1, value, claimed);
    }

    template <typename Context>
    [[nodiscard]] auto read_mmio(Context& context, std::uint64_t address, unsigned size, std::uint64_t& value) -> bool {
        auto const* const handler = mmio_.find(address);
        if (handler == nullptr or handler->end - address < size)
            return false;
        value = handler->read(handler->argument, &context, address - handler->first, size);
        return true;
    }

    template <typename Context>
    [[nodiscard]] auto write_mmio(Context& context, std::uint64_t address, unsigned size, std::uint64_t value) -> bool {
        auto const* const handler = mmio_.find(address);
        if (handler == nullptr or handler->end - address < size)
            return false;
        handler->write(handler->argument, &context, address - handler->first, size, value);
        return true;
    }

    template <typename Context>
    [[nodiscard]] auto read_msr(Context& context, std::uint32_t index, std::uint64_t& value) -> msr_answer {
        auto const* const handler = msrs_.find(index);
        if (handler == nullptr)
            return msr_answer::not_mine;
        return handler->read(handler->argument, &context, index, value) ? msr_answer::done : msr_answer::fault;
    }

    template <typename Context>
    [[nodiscard]] auto write_msr(Context& context, std::uint32_t index, std::uint64_t value) -> msr_answer {
        auto const* const handler = msrs_.find(index);
        if (handler == nullptr)
            return msr_answer::not_mine;
        return handler->write(handler->argument, &context, index, value) ? msr_answer::done : msr_answer::fault;
    }
    [[nodiscard]] static auto read_msr_at_once(std::uint32_t, std::uint64_t&) -> bool { return false; }
    /// The handler asks the device.
    template <typename Context>
    [[nodiscard]] static auto write_msr_at_once(Context&, std::uint32_t, std::uint64_t) -> bool {
        return false;
    }

  private:
    template <typename Device>
    static constexpr std::size_t place{meta::index_of<Device, Devices...>};

    /// Registers what a device answers to. The set was checked when it was compiled, so there is room for all of it.
    template <typename Device, typename Context>
    void attach() {
        if constexpr (port_device<Device>)
            for (port_range const r : Device::ports)
                static_cast<void>(
                    ports_.add({r.first, r.end(), r.widest, this, in<Device, Context>, out<Device, Context>}));
        if constexpr (mmio_device<Device>)
            for (mmio_range const r : Device::mmio)
                static_cast<void>(mmio_.add({r.first, r.end(), this, load<Device, Context>, store<Device, Context>}));
        if constexpr (msr_device<Device>)
            for (msr_range const r : Device::msrs)
                static_cast<void>(msrs_.add({r.first, r.end(), this, rdmsr<Device, Context>, wrmsr<Device, Context>}));
    }

    template <typename Device, typename Context>
    static auto in(void* self, void* context, std::uint16_t port, unsigned size) -> std::uint32_t {
        return static_cast<board*>(self)->template reading<place<Device>>().read_port(*static_cast<Context*>(context),
                                                                                      port, size);
    }
    template <typename Device, typename Context>
    static void out(void* self, void* context, std::uint16_t port, unsigned size, std::uint32_t value) {
        static_cast<board*>(self)->template writing<place<Device>>(
            [&](auto& device) { device.write_port(*static_cast<Context*>(context), port, size, value); });
    }
    template <typename Device, typename Context>
    static auto load(void* self, void* context, std::uint64_t offset, unsigned size) -> std::uint64_t {
        return static_cast<board*>(self)->template reading<place<Device>>().read_mmio(*static_cast<Context*>(context),
                                                                                      offset, size);
    }
    template <typename Device, typename Context>
    static void store(void* self, void* context, std::uint64_t offset, unsigned size, std::uint64_t value) {
        static_cast<board*>(self)->template writing<place<Device>>(
            [&](auto& device) { device.write_mmio(*static_cast<Context*>(context), offset, size, value); });
    }
    template <typename Device, typename Context>
    static auto rdmsr(void* self, void* context, std::uint32_t index, std::uint64_t& value) -> bool {
        return static_cast<board*>(self)->template reading<place<Device>>().read_msr(*static_cast<Context*>(context),
                                                                                     index, value);
    }
    template <typename Device, typename Context>
    static auto wrmsr(void* self, void* context, std::uint32_t index, std::uint64_t value) -> bool {
        return static_cast<board*>(self)->template writing<place<Device>>([&](auto& device) {
            auto& of_call = *static_cast<Context*>(context);
            if constexpr (requires { device.write_msr_at_once(of_call, index, value); })
                if (device.write_msr_at_once(of_call, index, value))
                    return true;
            return device.write_msr(of_call, index, value);
        });
    }

    // What no device takes in one piece is split into bytes, and ports wrap at 64 Ki.
    template <typename Context>
    [[gnu::noinline, gnu::cold]] auto read_port_bytes(Context& context, std::uint16_t port, unsigned size,
                                                      bool& claimed) -> std::uint32_t {
        std::uint32_t value{0};
        bool any{false};
        for (unsigned i{0}; i != size; ++i) {
            bool one{true};
            value |= (read_port(context, static_cast<std::uint16_t>(port + i), 1, one) & 0xff) << (8 * i);
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
            write_port(context, static_cast<std::uint16_t>(port + i), 1, (value >> (8 * i)) & 0xff, one);
            any = any or one;
        }
        claimed = any;
    }

    pointers::sorted_table<pointers::port_handler> ports_{};
    pointers::sorted_table<pointers::mmio_handler> mmio_{};
    pointers::sorted_table<pointers::msr_handler> msrs_{};
};

} // namespace hv
