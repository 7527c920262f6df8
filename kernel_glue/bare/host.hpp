// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "boot_information.hpp"
#include "clock.hpp"
#include "instructions.hpp"
#include "page_allocator.hpp"
#include "uart.hpp"

#include <hv/address.hpp>
#include <hv/host.hpp>
#include <hv/status.hpp>
#include <hv/time.hpp>
#include <hv/x86/registers.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hv::bare {

extern "C" auto hv_bare_try_read_msr(std::uint32_t index, std::uint64_t* value) -> bool;
extern "C" auto hv_bare_try_write_msr(std::uint32_t index, std::uint64_t value) -> bool;

struct fpu_area {};

class host {
  public:
    static constexpr bool callers_are_serial{true};
    static constexpr std::uint8_t panic_status{3};

    using fpu_area = bare::fpu_area;

    /// One processor, one thread: nothing to exclude.
    struct lock {
        void acquire() {}
        void release() {}
    };

    constexpr host() = default;
    host(host const&) = delete;
    auto operator=(host const&) -> host& = delete;

    [[nodiscard]] auto allocate(std::size_t bytes, std::size_t alignment) -> void* {
        return memory_.allocate(bytes, alignment);
    }
    void free(void* memory, std::size_t bytes);
    [[nodiscard]] auto physical(void const* memory) const -> hpa {
        return hpa{reinterpret_cast<std::uint64_t>(memory)};
    }
    [[nodiscard]] auto pointer(hpa address) const -> void* { return reinterpret_cast<void*>(address.value); }

    [[nodiscard]] auto processor() const -> unsigned { return 0; }
    [[nodiscard]] auto processor_count() const -> unsigned { return 1; }
    [[nodiscard]] auto cpuid(std::uint32_t leaf, std::uint32_t subleaf) const -> x86::cpuid_result {
        return bare::cpuid(leaf, subleaf);
    }
    [[nodiscard]] auto read_msr(std::uint32_t index) -> result<std::uint64_t> {
        std::uint64_t value{};
        if (not hv_bare_try_read_msr(index, &value))
            return status::not_found;
        return value;
    }
    auto write_msr(std::uint32_t index, std::uint64_t value) -> status {
        return hv_bare_try_write_msr(index, value) ? status::ok : status::not_permitted;
    }

    [[nodiscard]] auto now() const -> nanoseconds { return clock_.now(); }
    [[nodiscard]] auto tsc() const -> std::uint64_t { return read_tsc(); }
    [[nodiscard]] auto tsc_frequency() const -> std::uint64_t { return clock_.frequency(); }

    void put(std::uint8_t stream, std::uint8_t byte) {
        if (stream == 0)
            console_.put(byte);
    }
    [[nodiscard]] auto get() -> int { return console_.get(); }
    void log(std::string_view line);
    [[noreturn, gnu::cold]] void panic(std::string_view why);

    // What the host offers beyond the concept.

    /// Ends the image: the last byte leaves the serial port, then the emulator ends.
    [[noreturn, gnu::cold]] void leave(std::uint8_t status);

    // For start.cpp and the trap handlers.
    void start(boot_information const& boot);
    void serve_interrupt(std::uint8_t vector);
    void serve_nmi() { ++nmis_; }

  private:
    uart console_{0x3f8};
    page_allocator memory_{};
    clock clock_{};
    std::uint64_t nmis_{0};
};

/// The only one there is.
[[nodiscard]] auto this_host() -> host&;

} // namespace hv::bare
