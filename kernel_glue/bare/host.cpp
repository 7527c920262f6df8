// SPDX-License-Identifier: BSD-2-Clause
#include "host.hpp"

#include "backtrace.hpp"
#include "calibration.hpp"
#include "reference_clock.hpp"
#include "trap.hpp"

namespace hv::bare {

void host::free(void* memory, std::size_t bytes) {
    if (not memory_.free(memory, bytes))
        panic("memory was freed that is free");
}

void host::log(std::string_view line) {
    for (char const c : std::string_view{"hv: "})
        put(0, static_cast<std::uint8_t>(c));
    for (char const c : line)
        put(0, static_cast<std::uint8_t>(c));
    put(0, '\r');
    put(0, '\n');
}

void host::panic(std::string_view why) {
    log("panic:");
    log(why);
    print_backtrace(*this, reinterpret_cast<std::uint64_t>(__builtin_return_address(0)),
                    reinterpret_cast<std::uint64_t>(__builtin_frame_address(0)));
    leave(panic_status);
}

void host::leave(std::uint8_t status) {
    console_.drain();
    out8(0xf4, status);
    stop();
}

void host::serve_interrupt(std::uint8_t) {}

void host::start(boot_information const&) {
    (void)console_.start();
    load_descriptor_tables();
    auto const reference = reference_clock::pit();
    auto const first = sample_clocks(reference, [] { return 0u; });
    wait_ticks(reference, first.reference, reference.frequency() / 50);
    auto const second = sample_clocks(reference, [] { return 0u; });
    clock_ = {frequency_of(second.tsc - first.tsc, reference.between(first.reference, second.reference),
                           reference.frequency()),
              first.tsc};
    memory_.add(0x1000000, 0x4000000);
}

} // namespace hv::bare
