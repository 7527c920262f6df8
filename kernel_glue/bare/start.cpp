// SPDX-License-Identifier: BSD-2-Clause
#include "boot_information.hpp"
#include "host.hpp"
#include "image.hpp"

#include <cstdint>

namespace hv::bare {

namespace {
constinit host only_host{};
constinit boot_information boot{};
} // namespace

auto this_host() -> host& {
    return only_host;
}

/// Where boot.S arrives: on the main stack, with the first 4 GiB mapped and interrupts off.
extern "C" [[noreturn]] void hv_bare_start(std::uint32_t magic, std::uint32_t information) {
    (void)magic;
    (void)information;
    only_host.start(boot);
    only_host.leave(static_cast<std::uint8_t>(image_main(only_host, boot)));
}

} // namespace hv::bare
