// SPDX-License-Identifier: BSD-2-Clause
#include "address_space.hpp"
#include "boot_information.hpp"
#include "host.hpp"
#include "image.hpp"
#include "multiboot1.hpp"
#include "multiboot2.hpp"
#include "pvh.hpp"
#include "rsdp.hpp"

#include <cstdint>

namespace hv::bare {

namespace {

constinit host only_host{};
constinit boot_information boot{};

void read_boot_information(std::uint32_t magic, hpa information) {
    constexpr identity_memory memory{boot_mapping_end};
    switch (magic) {
    case multiboot1::magic:
        multiboot1::read(boot, memory, information);
        break;
    case multiboot2::magic:
        multiboot2::read(boot, memory, information);
        break;
    case pvh::magic:
        pvh::read(boot, memory, information);
        break;
    default:
        break;
    }
    if (not boot.acpi)
        boot.acpi = find_rsdp(memory);
}

} // namespace

auto this_host() -> host& {
    return only_host;
}

/// Where boot.S arrives: on the main stack, with the first 4 GiB mapped and interrupts off.
extern "C" [[noreturn]] void hv_bare_start(std::uint32_t magic, std::uint32_t information) {
    read_boot_information(magic, hpa{information});
    only_host.start(boot);
    if (boot.protocol == boot_protocol::unknown)
        only_host.panic("started by nothing that this image knows");
    if (boot.truncated)
        only_host.log("the boot loader said more than there is room for");
    only_host.leave(static_cast<std::uint8_t>(image_main(only_host, boot)));
}

} // namespace hv::bare
